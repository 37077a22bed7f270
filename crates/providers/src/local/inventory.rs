//! What the cache holds: base images, toolchains, templates, tools and what is compiled here, with their size, their last use, and who uses them now. What
//! is in use is locked by who uses it, and is never deleted; nor is what belongs to another user.

use std::{
    fs::{self, File},
    os::unix::fs::MetadataExt,
    time::{Duration, SystemTime},
};

use camino::{Utf8Path, Utf8PathBuf};
use model::error::ProviderError;
use serde::Serialize;

use super::{error::LocalError, image::cache::is_same};

/// How long a template is kept that nobody uses.
pub(crate) const TEMPLATE_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// What a directory of the cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CacheKind {
    /// What was not made to its end, or was found damaged.
    Leftover,
    /// Tests that were compiled on this machine, for as long as their run lasts.
    Build,
    /// A tool that was fetched for boxes.
    Tool,
    /// A box that was frozen.
    Template,
    /// A Rust toolchain.
    Toolchain,
    /// An operating system.
    Image,
}

impl CacheKind {
    /// The directories of the cache that hold such things.
    const PARENTS: [&str; 3] = ["images", "tools", "build"];

    /// Returns which of them holds this kind.
    fn parent(self) -> &'static str {
        match self {
            Self::Leftover | Self::Template | Self::Toolchain | Self::Image => Self::PARENTS[0],
            Self::Tool => Self::PARENTS[1],
            Self::Build => Self::PARENTS[2],
        }
    }
}

impl std::fmt::Display for CacheKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Leftover => "leftover",
            Self::Build => "build",
            Self::Tool => "tool",
            Self::Template => "template",
            Self::Toolchain => "toolchain",
            Self::Image => "image",
        })
    }
}

/// A directory of the cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cached {
    /// What it is.
    pub kind: CacheKind,
    /// The name of its directory, made of all that went into it.
    pub key: String,
    /// What it takes of the disk.
    pub bytes: u64,
    /// How long nobody has begun to use it, in seconds.
    pub unused_seconds: u64,
    /// Who uses it now.
    pub used_by: Vec<String>,
    /// The user it belongs to, when that is somebody else.
    pub other_user: Option<u32>,
}

/// What to delete. What nobody finished goes always, what is in use never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// All of it.
    All,
    /// What nobody has used for so long.
    Older(Duration),
    /// Templates that nobody has used for so long.
    OlderTemplates(Duration),
    /// What was not used for longest, until the rest takes so many bytes.
    Over(u64),
}

/// Lists what the cache holds, the last used first.
pub fn cached(cache_dir: &Utf8Path) -> Result<Vec<Cached>, ProviderError> {
    list(cache_dir).map_err(|error| error.during("list the cache"))
}

/// Deletes what is named, and returns what was deleted.
pub fn prune(cache_dir: &Utf8Path, what: Prune) -> Result<Vec<Cached>, ProviderError> {
    let delete = || -> Result<_, LocalError> {
        let all = list(cache_dir)?;
        let mut gone = Vec::new();
        for entry in chosen(&all, what) {
            if delete(&cache_dir.join(entry.kind.parent()).join(&entry.key))? {
                gone.push(entry.clone());
            }
        }
        Ok(gone)
    };
    delete().map_err(|error| error.during("prune the cache"))
}

fn list(cache_dir: &Utf8Path) -> Result<Vec<Cached>, LocalError> {
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut all = Vec::new();
    for parent in CacheKind::PARENTS.map(|parent| cache_dir.join(parent)) {
        let entries = match parent.read_dir_utf8() {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(|e| LocalError::system(format!("list {parent}"), e))?,
        };
        all.extend(entries.filter_map(|entry| look(entry.ok()?.path(), &locks)));
    }
    all.sort_by(|a, b| (a.unused_seconds, b.kind, &a.key).cmp(&(b.unused_seconds, a.kind, &b.key)));
    Ok(all)
}

/// Returns what is to go, of what is listed in the order of its last use.
fn chosen(all: &[Cached], what: Prune) -> Vec<&Cached> {
    let mut total: u64 = all.iter().map(|it| it.bytes).sum();
    let mut chosen = Vec::new();
    for entry in all.iter().rev() {
        let is_old = |age: Duration| entry.unused_seconds >= age.as_secs();
        let is_wanted = matches!(entry.kind, CacheKind::Leftover | CacheKind::Build)
            || match what {
                Prune::All => true,
                Prune::Older(age) => is_old(age),
                Prune::OlderTemplates(age) => entry.kind == CacheKind::Template && is_old(age),
                Prune::Over(bytes) => total > bytes,
            };
        if is_wanted && entry.used_by.is_empty() && entry.other_user.is_none() {
            total -= entry.bytes;
            chosen.push(entry);
        }
    }
    chosen
}

/// Deletes a directory unless somebody uses it by now. Returns whether it did.
fn delete(path: &Utf8Path) -> Result<bool, LocalError> {
    let error = |e| LocalError::system(format!("delete {path}"), e);
    let Some(_locks) = lock_for_us(path) else {
        return Ok(false);
    };
    let mut aside = path.to_owned();
    if path.extension().is_none() {
        // What has its name is whole, also when we are killed here.
        aside = Utf8PathBuf::from(format!("{path}.bad"));
        let _ = fs::remove_dir_all(&aside);
        fs::rename(path, &aside).map_err(error)?;
    }
    fs::remove_dir_all(&aside).map_err(error)?;
    if path.extension() == Some("part") {
        let _ = fs::remove_file(path.with_extension("lock"));
    }
    Ok(true)
}

/// Locks a directory, and what its maker holds while it is made; none while somebody else has either.
fn lock_for_us(path: &Utf8Path) -> Option<Vec<File>> {
    let mut locks = Vec::new();
    let maker = path.with_extension("lock");
    if path.extension() == Some("part") && maker.exists() {
        locks.push((File::open(&maker).ok()?, maker));
    }
    locks.push((File::open(path).ok()?, path.to_owned()));
    for (file, path) in &locks {
        file.try_lock().ok().filter(|()| is_same(file, path))?;
    }
    Some(locks.into_iter().map(|(file, _)| file).collect())
}

fn look(path: &Utf8Path, locks: &str) -> Option<Cached> {
    let about = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir)?;
    let key = path.file_name()?.to_owned();
    let kind = match (
        path.parent()?.file_name()?,
        path.extension(),
        key.split_once('-')?.0,
    ) {
        ("build", ..) => CacheKind::Build,
        ("tools", ..) => CacheKind::Tool,
        (_, Some(_), _) => CacheKind::Leftover,
        (_, None, "template") => CacheKind::Template,
        (_, None, "toolchain") => CacheKind::Toolchain,
        (_, None, _) => CacheKind::Image,
    };
    let us = rustix::process::geteuid().as_raw();
    let since = about.modified().ok()?;
    Some(Cached {
        kind,
        bytes: bytes_of(path),
        unused_seconds: SystemTime::now()
            .duration_since(since)
            .unwrap_or_default()
            .as_secs(),
        used_by: users(path, locks),
        other_user: (about.uid() != us).then_some(about.uid()),
        key,
    })
}

/// Returns what a directory's files take of the disk, which for sparse ones is less than their length.
fn bytes_of(directory: &Utf8Path) -> u64 {
    let entries = directory.read_dir_utf8().into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path().symlink_metadata() {
            Ok(about) if about.is_dir() => bytes_of(entry.path()),
            Ok(about) => about.blocks() * 512,
            Err(_) => 0,
        })
        .sum()
}

/// Returns who has a lock of a directory, or of what its maker holds.
fn users(path: &Utf8Path, locks: &str) -> Vec<String> {
    let inodes = [path.to_owned(), path.with_extension("lock")];
    let inodes = inodes
        .iter()
        .filter_map(|it| fs::metadata(it).ok())
        .map(|it| it.ino());
    let mut users: Vec<_> = inodes
        .flat_map(|inode| pids_of(locks, inode))
        .map(name_of)
        .collect();
    users.sort();
    users.dedup();
    // A process of another namespace is not listed.
    if users.is_empty() && lock_for_us(path).is_none() {
        users.push("another process".to_owned());
    }
    users
}

/// Returns the processes that have a lock of an inode, from `/proc/locks`.
fn pids_of(locks: &str, inode: u64) -> Vec<i32> {
    let holder = |line: &str| {
        let words: Vec<_> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == "FLOCK")?;
        let (_, found) = words.get(at + 4)?.rsplit_once(':')?;
        (found.parse() == Ok(inode)).then(|| words[at + 3].parse().ok())?
    };
    locks.lines().filter_map(holder).collect()
}

/// Returns what a process is to people: a box's label, or its program.
fn name_of(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line
        .split(|byte| *byte == 0)
        .map(|it| String::from_utf8_lossy(it))
        .collect();
    if let Some(label) = words.iter().find_map(|word| word.strip_prefix("guest=")) {
        return label.to_owned();
    }
    let program = words[0].rsplit('/').next().unwrap_or_default();
    format!("{program} (process {pid})")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: &str, unused_seconds: u64) -> Cached {
        Cached {
            kind: match key.as_bytes()[0] {
                b't' => CacheKind::Template,
                b'l' => CacheKind::Leftover,
                _ => CacheKind::Image,
            },
            key: key.to_owned(),
            bytes: 10,
            unused_seconds,
            used_by: Vec::new(),
            other_user: None,
        }
    }

    #[track_caller]
    fn check(what: Prune, keys: &[&str]) {
        let used = Cached {
            used_by: vec!["mvm-1".to_owned()],
            ..entry("t-used", 500)
        };
        let foreign = Cached {
            other_user: Some(7),
            ..entry("i-foreign", 600)
        };
        let all = [
            entry("t-new", 1),
            entry("l-half", 2),
            entry("i-old", 300),
            entry("t-old", 400),
            used,
            foreign,
        ];
        let chosen: Vec<_> = chosen(&all, what).iter().map(|it| it.key.as_str()).collect();
        assert_eq!(chosen, keys, "{what:?}");
    }

    #[test]
    fn what_is_in_use_or_somebody_elses_never_goes() {
        check(Prune::All, &["t-old", "i-old", "l-half", "t-new"]);
        check(
            Prune::Older(Duration::from_secs(300)),
            &["t-old", "i-old", "l-half"],
        );
        check(
            Prune::OlderTemplates(Duration::from_secs(300)),
            &["t-old", "l-half"],
        );
        check(Prune::Over(45), &["t-old", "i-old", "l-half"]);
        check(Prune::Over(1000), &["l-half"]);
        check(Prune::Over(0), &["t-old", "i-old", "l-half", "t-new"]);
    }

    #[test]
    fn holders_of_a_lock_are_read_from_its_inode() {
        let locks = "1: POSIX  ADVISORY  WRITE 10 fe:00:77 0 EOF\n2: FLOCK  ADVISORY  READ  11 fe:00:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 12 fe:00:77 0 EOF\n3: FLOCK  ADVISORY  READ  13 fe:00:770 0 EOF\n";
        assert_eq!(pids_of(locks, 77), [11, 12]);
    }
}
