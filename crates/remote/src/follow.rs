//! Follows the files that are sent to a box: says when one of them has changed, and which.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use model::error::RemoteError;
use notify::{ErrorKind, Event, EventKind, RecursiveMode, Watcher};
use parking_lot::Mutex;

use crate::{directories::directories, manifest::Manifest};

/// Pause between two looks at all files, where the system does not report changes.
const POLL_PAUSE: Duration = Duration::from_secs(2);

/// How much older the kernel's time of a change may be than the clock's.
const COARSE: Duration = Duration::from_millis(20);

/// The kernel's limit, as a person may read and raise it.
const LIMIT: &str = "/proc/sys/fs/inotify/max_user_watches";

/// What reports changes.
type Reporter = Box<dyn Watcher + Send>;

/// What is done with a report.
type Handler = Box<dyn Fn(notify::Result<Event>) + Send>;

/// What is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// The directories whose copies the box has.
    pub trees: Vec<PathBuf>,
    /// A file that counts wherever it is.
    pub file: PathBuf,
    /// A directory that never counts: what twolane writes there would begin a run for ever.
    pub left_out: PathBuf,
}

/// Follows them until it is dropped.
pub struct Follower {
    followed: Followed,
    /// What is sent of each tree, as of the last look.
    manifests: Vec<Manifest>,
    /// None where all files are looked at again and again.
    reporter: Option<Reporter>,
    watched: BTreeSet<PathBuf>,
    touched: Arc<Mutex<Touched>>,
    looked: SystemTime,
    /// Why files are looked at again and again, if they are.
    pub polled: Option<String>,
}

/// What was reported since the last look.
#[derive(Default)]
struct Touched {
    paths: BTreeSet<PathBuf>,
    /// Whether reports were lost: everything may have changed.
    is_incomplete: bool,
}

impl Follower {
    /// Begins to follow. `report` is called for each change, also of files that are not sent.
    pub fn start(
        followed: Followed,
        report: impl Fn() + Send + Clone + 'static,
    ) -> Result<Self, RemoteError> {
        let native = |handler: Handler| -> notify::Result<Reporter> {
            Ok(Box::new(notify::recommended_watcher(handler)?))
        };
        Self::start_with(followed, native, report)
    }

    fn start_with(
        followed: Followed,
        native: impl Fn(Handler) -> notify::Result<Reporter>,
        report: impl Fn() + Send + Clone + 'static,
    ) -> Result<Self, RemoteError> {
        let touched = Arc::new(Mutex::new(Touched::default()));
        let (of_handler, to) = (touched.clone(), report.clone());
        let handler = Box::new(move |event| {
            if of_handler.lock().take(event) {
                to();
            }
        });
        let (reporter, error) = match native(handler) {
            Ok(reporter) => (Some(reporter), None),
            Err(error) => (None, Some(error)),
        };
        let mut follower = Self {
            followed,
            manifests: Vec::new(),
            reporter,
            watched: BTreeSet::new(),
            touched: touched.clone(),
            looked: SystemTime::now(),
            polled: None,
        };
        if let Some(error) = error.or(follower.watch()?.err()) {
            follower.polled = Some(why_polled(&error));
            follower.reporter = None;
            poll(&touched, report)
                .map_err(|error| RemoteError::Here(format!("changes cannot be waited for: {error}")))?;
        }
        // Only then: what changes meanwhile is reported.
        follower.manifests = follower.list()?;
        Ok(follower)
    }

    /// Returns how many files are followed.
    pub fn count(&self) -> u64 {
        self.manifests.iter().map(Manifest::len).sum()
    }

    /// Looks at what was reported since the last look. Returns what has changed of the files that are sent.
    pub fn look(&mut self) -> Result<BTreeSet<PathBuf>, RemoteError> {
        let Touched { paths, is_incomplete } = std::mem::take(&mut *self.touched.lock());
        let before = std::mem::replace(&mut self.looked, SystemTime::now());
        let moved: Vec<&PathBuf> = paths.iter().filter(|path| self.watched.contains(*path)).collect();
        if is_incomplete || !moved.is_empty() || paths.iter().any(|path| path.is_dir()) {
            self.forget(&moved);
            // A limit that is reached now leaves what is new unwatched: the next report looks again.
            let _ = self.watch()?;
        }
        let manifests = self.list()?;
        let old = std::mem::replace(&mut self.manifests, manifests);
        let mut changed = BTreeSet::new();
        for (root, (old, new)) in self.followed.trees.iter().zip(old.iter().zip(&self.manifests)) {
            let below = paths.iter().filter_map(|path| path.strip_prefix(root).ok());
            let sent = below.filter(|path| old.holds(path) || new.holds(path));
            changed.extend(sent.map(|path| root.join(path)));
            if is_incomplete {
                let since = before.checked_sub(COARSE).unwrap_or(before);
                let all = new.paths().map(|path| root.join(path));
                changed.extend(all.filter(|path| is_written(path, since)));
            }
            if old != new {
                changed.extend(
                    old.paths()
                        .filter(|path| !new.holds(path))
                        .map(|path| root.join(path)),
                );
                changed.extend(
                    new.paths()
                        .filter(|path| !old.holds(path))
                        .map(|path| root.join(path)),
                );
            }
        }
        changed.retain(|path| !path.starts_with(&self.followed.left_out));
        changed.extend(paths.get(&self.followed.file).cloned());
        Ok(changed)
    }

    /// Watches no longer what is below these: under the name of a directory that moved another one may be by now.
    fn forget(&mut self, moved: &[&PathBuf]) {
        let is_gone = |dir: &&PathBuf| moved.iter().any(|moved| dir.starts_with(moved));
        let gone: Vec<PathBuf> = self.watched.iter().filter(is_gone).cloned().collect();
        for dir in gone {
            if let Some(reporter) = &mut self.reporter {
                let _ = reporter.unwatch(&dir);
            }
            self.watched.remove(&dir);
        }
    }

    /// Watches the directories that are not watched yet.
    fn watch(&mut self) -> Result<notify::Result<()>, RemoteError> {
        let Some(reporter) = &mut self.reporter else {
            return Ok(Ok(()));
        };
        let mut wanted: BTreeSet<PathBuf> = self
            .followed
            .file
            .parent()
            .map(Path::to_owned)
            .into_iter()
            .collect();
        for tree in &self.followed.trees {
            wanted.extend(directories(tree)?);
        }
        wanted.retain(|dir| !dir.starts_with(&self.followed.left_out));
        self.watched.retain(|dir| wanted.contains(dir));
        let new: Vec<PathBuf> = wanted.difference(&self.watched).cloned().collect();
        let mut paths = reporter.paths_mut();
        let mut outcome = Ok(());
        for dir in new {
            match paths.add(&dir, RecursiveMode::NonRecursive) {
                // It may go at any time.
                Err(error) if matches!(error.kind, ErrorKind::PathNotFound) => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
                Ok(()) => {
                    self.watched.insert(dir);
                }
            }
        }
        let outcome = outcome.and(paths.commit());
        Ok(outcome)
    }

    fn list(&self) -> Result<Vec<Manifest>, RemoteError> {
        let trees = self.followed.trees.iter();
        trees.map(|tree| Manifest::of(tree)).collect()
    }
}

impl Touched {
    /// Takes a report; false where it is of no interest.
    fn take(&mut self, event: notify::Result<Event>) -> bool {
        match event {
            Ok(event) if event.need_rescan() => self.is_incomplete = true,
            // Everybody may read: rsync, compilers and we do.
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => return false,
            Ok(event) => self.paths.extend(event.paths),
            Err(_) => self.is_incomplete = true,
        }
        true
    }
}

/// Has everything looked at again and again, as long as somebody follows. notify's own polling compares whole seconds.
fn poll(touched: &Arc<Mutex<Touched>>, report: impl Fn() + Send + 'static) -> std::io::Result<()> {
    let touched = Arc::downgrade(touched);
    let poll = move || {
        loop {
            thread::sleep(POLL_PAUSE);
            let Some(touched) = touched.upgrade() else { return };
            touched.lock().is_incomplete = true;
            report();
        }
    };
    thread::Builder::new()
        .name("poll".to_owned())
        .spawn(poll)
        .map(drop)
}

/// Returns whether the system cannot report that much, and would report less.
fn is_limit(error: &notify::Error) -> bool {
    matches!(error.kind, ErrorKind::MaxFilesWatch)
}

fn why_polled(error: &notify::Error) -> String {
    let seconds = POLL_PAUSE.as_secs();
    if !is_limit(error) {
        return format!(
            "this machine does not report changes ({error}): all files are looked at every {seconds} s"
        );
    }
    let limit = fs::read_to_string(LIMIT).unwrap_or_default();
    let limit = limit.trim();
    format!(
        "the sources have more directories than this machine's limit of inotify watches leaves ({limit}): all files are \
         looked at every {seconds} s; sudo sysctl fs.inotify.max_user_watches=NUMBER raises the limit"
    )
}

/// Returns whether a file has been written since then, as the kernel has it.
fn is_written(path: &Path, since: SystemTime) -> bool {
    let since = since.duration_since(UNIX_EPOCH).unwrap_or_default();
    let at = |found: fs::Metadata| {
        let seconds = u64::try_from(found.ctime()).unwrap_or_default();
        Duration::new(seconds, u32::try_from(found.ctime_nsec()).unwrap_or_default())
    };
    fs::symlink_metadata(path).is_ok_and(|found| at(found) >= since)
}

#[cfg(test)]
mod tests {
    use std::{process::Command, sync::mpsc};

    use notify::{Config, WatcherKind};

    use super::*;

    fn tree(script: &str) -> tempfile::TempDir {
        let temp = tempfile::tempdir().unwrap();
        sh(temp.path(), &format!("mkdir tree; cd tree; {script}"));
        temp
    }

    fn sh(dir: &Path, script: &str) {
        let status = Command::new("sh")
            .args(["-euc", script])
            .current_dir(dir)
            .status();
        assert!(status.unwrap().success(), "{script}");
    }

    fn followed(temp: &Path) -> Followed {
        Followed {
            trees: vec![temp.join("tree")],
            file: temp.join("twolane.toml"),
            left_out: temp.join("tree/state"),
        }
    }

    /// Takes one step after the other, looks at each, and checks what the last one changed. A file beside the tree is written
    /// last, and reported last.
    #[track_caller]
    fn check(before: &str, steps: &[&str], expected: &[&str]) {
        let temp = tree(before);
        let (tell, reported) = mpsc::channel();
        let report = move || tell.send(()).unwrap();
        let mut follower = Follower::start(followed(temp.path()), report).unwrap();
        assert_eq!(follower.polled, None);
        let mut changed = BTreeSet::new();
        for step in steps {
            changed.clear();
            sh(&temp.path().join("tree"), step);
            fs::write(temp.path().join("twolane.toml"), "").unwrap();
            while !changed.contains(&temp.path().join("twolane.toml")) {
                reported.recv_timeout(Duration::from_secs(20)).unwrap();
                changed.extend(follower.look().unwrap());
            }
        }
        let below = changed
            .iter()
            .filter_map(|path| path.strip_prefix(temp.path().join("tree")).ok());
        assert_eq!(
            below.collect::<Vec<_>>(),
            expected.iter().map(Path::new).collect::<Vec<_>>()
        );
    }

    #[test]
    fn what_git_carries_counts() {
        check(
            "git init -q; mkdir src; touch src/a",
            &["echo > src/a"],
            &["src/a"],
        );
        check("git init -q; touch a", &["rm a"], &["a"]);
        check("git init -q; touch a", &["chmod +x a"], &["a"]);
        check(
            "git init -q; touch a",
            &["mkdir -p b/c", "touch b/c/d"],
            &["b/c/d"],
        );
        check(
            "git init -q; mkdir b; touch b/a",
            &["mv b c", "echo > c/a"],
            &["c/a"],
        );
        check(
            "git init -q; mkdir b; touch b/a",
            &["mv b c; mkdir b; touch b/a", "echo > b/a"],
            &["b/a"],
        );
        check("touch a", &["echo > a"], &["a"]);
    }

    #[test]
    fn what_stays_here_does_not_count() {
        let ignoring = "git init -q; echo target/ > .gitignore; mkdir -p target src state; touch src/a";
        check(
            ignoring,
            &["echo > target/a; mkdir target/b", "echo > target/b/c"],
            &[],
        );
        check(
            ignoring,
            &["mkdir state/runs; echo > state/journal", "echo > state/runs/a"],
            &[],
        );
        check(ignoring, &["cat src/a; git status"], &[]);
        check("touch Cargo.toml; mkdir target", &["echo > target/a"], &[]);
    }

    /// A reporter that is full.
    #[derive(Debug)]
    struct Full;

    impl Watcher for Full {
        fn new<F: notify::EventHandler>(_: F, _: Config) -> notify::Result<Self> {
            Ok(Self)
        }

        fn watch(&mut self, _: &Path, _: RecursiveMode) -> notify::Result<()> {
            Err(notify::Error::new(ErrorKind::MaxFilesWatch))
        }

        fn unwatch(&mut self, _: &Path) -> notify::Result<()> {
            Ok(())
        }

        fn kind() -> WatcherKind {
            WatcherKind::NullWatcher
        }
    }

    #[test]
    fn more_than_the_system_reports_is_said_and_polled() {
        let temp = tree("git init -q; mkdir src; touch src/a");
        let (tell, reported) = mpsc::channel();
        let report = move || tell.send(()).unwrap_or_default();
        let native = |_| -> notify::Result<Reporter> { Ok(Box::new(Full)) };
        let mut follower = Follower::start_with(followed(temp.path()), native, report)
            .ok()
            .unwrap();
        let why = follower.polled.clone().unwrap();
        assert!(
            why.contains("max_user_watches") && why.contains("every 2 s"),
            "{why}"
        );
        sh(temp.path(), "echo more > tree/src/a");
        reported.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(
            follower
                .look()
                .ok()
                .unwrap()
                .contains(&temp.path().join("tree/src/a"))
        );
    }

    #[test]
    fn reports_that_were_lost_are_made_up_for() {
        let temp = tree("git init -q; touch a b");
        let mut follower = Follower::start(followed(temp.path()), || {}).unwrap();
        // Long enough that what was made before the follower is older than its first look.
        std::thread::sleep(2 * COARSE);
        follower.look().unwrap();
        sh(temp.path(), "echo > tree/b");
        let lost = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        *follower.touched.lock() = Touched::default();
        assert!(follower.touched.lock().take(Ok(lost)));
        assert_eq!(
            follower.look().unwrap(),
            BTreeSet::from([temp.path().join("tree/b")])
        );
    }
}
