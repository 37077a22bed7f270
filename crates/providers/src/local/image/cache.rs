//! Directories that are made once: `<cache_dir>/images/<key>`. What is there is whole, as it gets its name last. Who uses
//! one keeps it locked, shared with others; who deletes it locks it for itself.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    ops::Deref,
    sync::Arc,
    time::{Duration, SystemTime},
};

use camino::{Utf8Path, Utf8PathBuf};
use model::world::Progress;
use sha2::{Digest, Sha256};

use crate::local::error::LocalError;

/// How often a lock that somebody else holds is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(100);

/// Returns the key of something made of these parts.
pub(crate) fn key(kind: &str, parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    format!("{kind}-{}", &hex::encode(hash.finalize())[..16])
}

/// Returns whether something is there under that key.
pub(crate) fn is_there(cache_dir: &Utf8Path, key: &str) -> bool {
    directory(cache_dir, key).is_dir()
}

fn directory(cache_dir: &Utf8Path, key: &str) -> Utf8PathBuf {
    cache_dir.join("images").join(key)
}

/// The right to make what belongs under a key. Kept by the programs that make it, too, until the last of them has ended.
#[derive(Debug)]
pub(crate) struct Making {
    done: Utf8PathBuf,
    /// Where it is made. Empty at first.
    pub(crate) part: Utf8PathBuf,
    lock: File,
    lock_path: Utf8PathBuf,
}

/// A directory that is there, and that nobody deletes as long as this lives.
#[derive(Debug, Clone)]
pub(crate) struct Held {
    path: Utf8PathBuf,
    _lock: Arc<File>,
}

impl Held {
    /// Locks a directory; none when it is not there, or no longer once the lock is had.
    fn of(path: &Utf8Path) -> Result<Option<Self>, LocalError> {
        let error = |e| LocalError::system(format!("lock {path}"), e);
        let file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(error)?,
        };
        file.lock_shared().map_err(error)?;
        // Its time of change is that of its last use. Where it is another user's it stays as it is.
        let _ = file.set_modified(SystemTime::now());
        Ok(is_same(&file, path).then(|| Self {
            path: path.to_owned(),
            _lock: Arc::new(file),
        }))
    }
}

impl Deref for Held {
    type Target = Utf8Path;

    fn deref(&self) -> &Utf8Path {
        &self.path
    }
}

/// What was found under a key.
pub(crate) enum Found {
    There(Held),
    ToBeMade(Making),
}

/// Looks for what belongs under a key; waits while another process is making it.
pub(crate) async fn find(
    cache_dir: &Utf8Path,
    key: &str,
    progress: &dyn Progress,
) -> Result<Found, LocalError> {
    let done = directory(cache_dir, key);
    if let Some(held) = Held::of(&done)? {
        return Ok(Found::There(held));
    }
    let images = cache_dir.join("images");
    fs::create_dir_all(&images).map_err(|e| LocalError::system(format!("make {images}"), e))?;
    let lock_path = images.join(format!("{key}.lock"));
    let lock = lock(&lock_path, progress).await?;
    if let Some(held) = Held::of(&done)? {
        // It was made while we waited. Others who wait for this file look again, as we did.
        let _ = fs::remove_file(&lock_path);
        return Ok(Found::There(held));
    }
    let part = images.join(format!("{key}.part"));
    sweep(&part)?;
    sweep_others(&images);
    fs::create_dir(&part).map_err(|e| LocalError::system(format!("make {part}"), e))?;
    Ok(Found::ToBeMade(Making {
        done,
        part,
        lock,
        lock_path,
    }))
}

impl Making {
    /// Returns a copy of the lock for a program that makes it.
    pub(crate) fn share(&self) -> Result<File, LocalError> {
        self.lock
            .try_clone()
            .map_err(|e| LocalError::system("share a lock", e))
    }

    /// Gives it its name, now that it is whole.
    pub(crate) fn finish(self) -> Result<Held, LocalError> {
        fs::rename(&self.part, &self.done)
            .map_err(|e| LocalError::system(format!("rename {} to {}", self.part, self.done), e))?;
        let held = Held::of(&self.done)?;
        held.ok_or_else(|| LocalError::invalid(format!("{} was deleted as soon as it was made", self.done)))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        // Whoever waits for this file looks again once it has the lock. What a failed making left goes too, where it can.
        if !mounts_below(&self.part) {
            let _ = fs::remove_dir_all(&self.part);
        }
        let _ = fs::remove_file(&self.lock_path);
    }
}

async fn lock(path: &Utf8Path, progress: &dyn Progress) -> Result<File, LocalError> {
    let error = |e: io::Error| LocalError::system(format!("lock {path}"), e);
    let mut reported = false;
    loop {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(error)?;
        match file.try_lock() {
            Ok(()) if is_same(&file, path) => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                if !reported {
                    let what = match path.file_name() {
                        Some(name) if name.starts_with("template-") => "a template",
                        _ => "the base image",
                    };
                    progress.report(&format!("waiting: another process is making {what}"), None);
                    reported = true;
                }
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            Err(TryLockError::Error(e)) => return Err(error(e)),
        }
    }
}

pub(crate) fn is_same(file: &File, path: &Utf8Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(there)) => open.ino() == there.ino(),
        _ => false,
    }
}

/// Deletes what a killed making has left.
fn sweep(part: &Utf8Path) -> Result<(), LocalError> {
    if mounts_below(part) {
        return Err(LocalError::invalid(format!(
            "something is mounted in {part}, left by a build that was killed"
        ))
        .with_help(format!(
            "unmount it: findmnt -nro TARGET | grep '^{part}' | sort -r | xargs -r umount"
        )));
    }
    match fs::remove_dir_all(part) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(LocalError::system(format!("delete {part}"), e)),
        _ => Ok(()),
    }
}

/// Deletes what killed makings of other keys have left, as far as nobody is making them now.
fn sweep_others(images: &Utf8Path) {
    let Ok(entries) = images.read_dir_utf8() else {
        return;
    };
    let locks = entries
        .filter_map(|entry| Some(entry.ok()?.into_path()))
        .filter(|path| path.extension() == Some("lock"));
    for path in locks {
        if let Ok(file) = File::open(&path)
            && file.try_lock().is_ok()
            && is_same(&file, &path)
            && sweep(&path.with_extension("part")).is_ok()
        {
            let _ = fs::remove_file(&path);
        }
    }
}

fn mounts_below(part: &Utf8Path) -> bool {
    let prefix = format!("{part}/");
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| {
        mounts
            .lines()
            .filter_map(|line| line.split(' ').nth(4))
            .any(|target| target.replace("\\040", " ").starts_with(&prefix))
    })
}

#[cfg(test)]
mod tests {
    use model::world::Silent;

    use super::*;

    fn making(found: Found) -> Making {
        match found {
            Found::ToBeMade(making) => making,
            Found::There(path) => panic!("{} is there", &*path),
        }
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(key("a", &["bc", "d"]), key("a", &["b", "cd"]));
        assert_eq!(key("a", &["b"]), key("a", &["b"]));
    }

    #[tokio::test]
    async fn the_second_waits_and_finds_what_the_first_made() {
        let cache = tempfile::tempdir().unwrap();
        let cache = Utf8PathBuf::try_from(cache.path().to_owned()).unwrap();
        let first = making(find(&cache, "k", &Silent).await.unwrap());
        let second = tokio::spawn({
            let cache = cache.clone();
            async move { matches!(find(&cache, "k", &Silent).await, Ok(Found::There(_))) }
        });
        tokio::task::yield_now().await;
        fs::write(first.part.join("disk"), "whole").unwrap();
        first.finish().unwrap();
        assert!(second.await.unwrap());
        let names: Vec<_> = cache
            .join("images")
            .read_dir_utf8()
            .unwrap()
            .map(|e| e.unwrap().file_name().to_owned())
            .collect();
        assert_eq!(names, ["k"]);
    }

    #[tokio::test]
    async fn what_a_killed_making_left_is_swept() {
        let cache = tempfile::tempdir().unwrap();
        let cache = Utf8Path::from_path(cache.path()).unwrap();
        let part = cache.join("images/k.part");
        fs::create_dir_all(&part).unwrap();
        fs::write(part.join("half"), "h").unwrap();
        let making = making(find(cache, "k", &Silent).await.unwrap());
        assert_eq!(making.part, part);
        assert_eq!(fs::read_dir(&part).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn what_killed_makings_of_other_keys_left_goes_too_but_not_what_is_being_made() {
        let cache = tempfile::tempdir().unwrap();
        let cache = Utf8Path::from_path(cache.path()).unwrap();
        let images = cache.join("images");
        for name in ["dead.part", "whole"] {
            fs::create_dir_all(images.join(name)).unwrap();
        }
        fs::write(images.join("dead.lock"), "").unwrap();
        let other = making(find(cache, "other", &Silent).await.unwrap());
        let _ours = making(find(cache, "ours", &Silent).await.unwrap());
        assert!(!images.join("dead.part").exists() && !images.join("dead.lock").exists());
        assert!(images.join("whole").exists() && other.part.exists());
    }

    #[tokio::test]
    async fn a_failed_making_leaves_nothing_and_can_be_repeated() {
        let cache = tempfile::tempdir().unwrap();
        let cache = Utf8Path::from_path(cache.path()).unwrap();
        drop(making(find(cache, "k", &Silent).await.unwrap()));
        assert_eq!(fs::read_dir(cache.join("images")).unwrap().count(), 0);
        drop(making(find(cache, "k", &Silent).await.unwrap()));
    }
}
