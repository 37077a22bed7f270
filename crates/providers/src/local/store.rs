//! The directories of the boxes: `<state_dir>/boxes/<label>/vm`, with `box.json` in each.
//! A directory is locked by whoever makes or destroys its box; the lock ends with its holder.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    error::ErrorKind,
    name::{Label, RunId},
    tags::{Tags, is_ours},
};
use serde::{Deserialize, Serialize};

use super::error::LocalError;

/// How often a lock that somebody else holds is tried.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// How long a box may be in the making before `down` gives up waiting for it.
const LOCK_PATIENCE: Duration = Duration::from_secs(60);

/// What is known of a box. Written before its QEMU starts, so that a box can always be found by tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The form of this file.
    pub(crate) version: u32,
    /// What the order's tags say, in the form that every provider carries.
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) instance_type: String,
    /// The port of this machine's loopback at which the box's SSH server answers.
    pub(crate) port: u16,
    /// What people should know about it.
    pub(crate) note: String,
    /// It is a clone that does not know yet who it is. Who finds it so, with nobody at work on it, begins anew.
    #[serde(default)]
    pub(crate) is_waking: bool,
}

impl Record {
    pub(crate) fn is_ours(&self) -> bool {
        is_ours(&self.tags)
    }

    /// Returns whether the box is ours and of that run, if one is named.
    pub(crate) fn is_meant(&self, run: Option<&RunId>) -> bool {
        let is_of = |run: &RunId| self.tags.get("mvm-run").is_some_and(|it| it == run.as_str());
        self.is_ours() && run.is_none_or(is_of)
    }

    pub(crate) fn parsed_tags(&self) -> Option<Tags> {
        Tags::parse(&self.tags)
    }
}

/// The directory of one box, there or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BoxDir {
    path: Utf8PathBuf,
}

impl BoxDir {
    /// Returns the directory of that label.
    pub(crate) fn of(state_dir: &Utf8Path, label: &Label) -> Self {
        Self::named(state_dir, label, "vm")
    }

    /// Returns the directory of that name among those of the label: another provider keeps its own things there.
    pub(crate) fn named(state_dir: &Utf8Path, label: &Label, name: &str) -> Self {
        Self {
            path: state_dir.join("boxes").join(label.as_str()).join(name),
        }
    }

    /// Returns those that are there, by label.
    pub(crate) fn all(state_dir: &Utf8Path) -> Result<Vec<(Label, Self)>, LocalError> {
        let boxes = state_dir.join("boxes");
        let entries = match boxes.read_dir_utf8() {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(LocalError::system(format!("list {boxes}"), e)),
        };
        let mut all: Vec<_> = entries
            .filter_map(|entry| Label::new(entry.ok()?.file_name()).ok())
            .map(|label| (label.clone(), Self::of(state_dir, &label)))
            .filter(|(_, dir)| dir.is_there())
            .collect();
        all.sort();
        Ok(all)
    }

    pub(crate) fn path(&self) -> &Utf8Path {
        &self.path
    }

    pub(crate) fn file(&self, name: &str) -> Utf8PathBuf {
        self.path.join(name)
    }

    pub(crate) fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// Returns the record; none when it was not written, or is damaged.
    pub(crate) fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.file("box.json")).ok()?).ok()
    }

    /// Makes the directory where needed, and locks it.
    pub(crate) async fn make_and_lock(&self) -> Result<Lock, LocalError> {
        loop {
            let parent = self.path.parent().unwrap_or(&self.path);
            make_private(parent).map_err(|e| LocalError::system(format!("make {parent}"), e))?;
            match fs::DirBuilder::new().mode(0o700).create(&self.path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(LocalError::system(format!("make {}", self.path), e));
                }
                _ => {}
            }
            if let Some(lock) = self.lock().await? {
                return Ok(lock);
            }
        }
    }

    /// Locks the directory; none when it is not there, or no longer once the lock is had.
    pub(crate) async fn lock(&self) -> Result<Option<Lock>, LocalError> {
        let error = |e| LocalError::system(format!("lock {}", self.path), e);
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(error(e)),
        };
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if waited < LOCK_PATIENCE => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                    waited += LOCK_PAUSE;
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(LocalError::new(
                        ErrorKind::Unavailable,
                        format!("another process has been working on {} for a minute", self.path),
                    ));
                }
                Err(TryLockError::Error(e)) => return Err(error(e)),
            }
        }
        let ours = file.metadata().map_err(error)?.ino();
        let is_current = fs::metadata(&self.path).is_ok_and(|there| there.ino() == ours);
        Ok(is_current.then(|| Lock {
            directory: self.clone(),
            _file: file,
        }))
    }
}

impl PartialOrd for BoxDir {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for BoxDir {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.path.cmp(&other.path)
    }
}

/// The right to make or destroy the box of a directory.
#[derive(Debug)]
pub(crate) struct Lock {
    directory: BoxDir,
    _file: File,
}

impl Lock {
    pub(crate) fn directory(&self) -> &BoxDir {
        &self.directory
    }

    /// Writes the record, whole or not at all.
    pub(crate) fn write(&self, record: &impl Serialize) -> Result<(), LocalError> {
        let file = self.directory.file("box.json");
        let new = self.directory.file("box.json.new");
        let text =
            serde_json::to_vec_pretty(record).map_err(|e| LocalError::system(format!("write {file}"), e))?;
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &file))
            .map_err(|e| LocalError::system(format!("write {file}"), e))
    }

    /// Deletes everything in the directory, and keeps it.
    pub(crate) fn empty(&self) -> Result<(), LocalError> {
        let path = self.directory.path();
        let delete = || -> io::Result<()> {
            for entry in fs::read_dir(path)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    fs::remove_dir_all(entry.path())?;
                } else {
                    fs::remove_file(entry.path())?;
                }
            }
            Ok(())
        };
        delete().map_err(|e| LocalError::system(format!("empty {path}"), e))
    }

    /// Deletes the directory, and its parent when nothing else is in there.
    pub(crate) fn delete(self) -> Result<(), LocalError> {
        let path = self.directory.path();
        match fs::remove_dir_all(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(LocalError::system(format!("delete {path}"), e));
            }
            _ => {}
        }
        // It stays when the box's keys are in it.
        let _ = path.parent().map(fs::remove_dir);
        Ok(())
    }
}

fn make_private(path: &Utf8Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(state: &tempfile::TempDir, label: &str) -> BoxDir {
        BoxDir::of(
            Utf8Path::from_path(state.path()).unwrap(),
            &Label::new(label).unwrap(),
        )
    }

    fn record() -> Record {
        Record {
            version: 1,
            tags: BTreeMap::from([("mvm-ephemeral".to_owned(), "true".to_owned())]),
            instance_type: "2x4g".to_owned(),
            port: 2222,
            note: String::new(),
            is_waking: false,
        }
    }

    #[tokio::test]
    async fn a_record_is_read_back_and_its_directory_is_closed_to_others() {
        let state = tempfile::tempdir().unwrap();
        let dir = dir(&state, "b1");
        let lock = dir.make_and_lock().await.unwrap();
        lock.write(&record()).unwrap();
        assert_eq!(dir.record(), Some(record()));
        assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn who_waited_for_a_deleted_directory_gets_none() {
        let state = tempfile::tempdir().unwrap();
        let dir = dir(&state, "b1");
        let first = dir.make_and_lock().await.unwrap();
        let second = tokio::spawn({
            let dir = dir.clone();
            async move { dir.lock().await }
        });
        tokio::task::yield_now().await;
        first.delete().unwrap();
        assert!(second.await.unwrap().unwrap().is_none());
        assert!(!dir.is_there());
        assert!(!dir.path().parent().unwrap().exists());
    }

    #[tokio::test]
    async fn the_keys_beside_a_box_stay() {
        let state = tempfile::tempdir().unwrap();
        let dir = dir(&state, "b1");
        let lock = dir.make_and_lock().await.unwrap();
        let key = dir.path().with_file_name("key");
        fs::write(&key, "k").unwrap();
        lock.delete().unwrap();
        assert!(key.exists());
    }

    #[tokio::test]
    async fn only_directories_of_boxes_are_listed() {
        let state = tempfile::tempdir().unwrap();
        let root = Utf8Path::from_path(state.path()).unwrap();
        assert_eq!(BoxDir::all(root), Ok(Vec::new()));
        dir(&state, "b2").make_and_lock().await.unwrap();
        dir(&state, "b1").make_and_lock().await.unwrap();
        fs::create_dir_all(root.join("boxes/b3")).unwrap();
        fs::create_dir_all(root.join("boxes/Not A Label/vm")).unwrap();
        let labels: Vec<_> = BoxDir::all(root)
            .unwrap()
            .into_iter()
            .map(|(label, _)| label.to_string())
            .collect();
        assert_eq!(labels, ["b1", "b2"]);
    }
}
