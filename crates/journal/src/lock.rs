//! Locks that the kernel releases when their process dies: one for each run, and a gate around looking at them.

use std::{
    collections::BTreeMap,
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use model::name::RunId;
use parking_lot::Mutex;

use crate::broken::DatabaseError;

/// Pause between two tries at a lock that another process has.
const PAUSE: Duration = Duration::from_millis(5);

/// The locks of one state directory.
pub(crate) struct Locks {
    gate: Utf8PathBuf,
    runs: Utf8PathBuf,
    patience: Duration,
    held: Mutex<BTreeMap<RunId, File>>,
}

impl Locks {
    pub(crate) fn new(dir: &Utf8Path, patience: Duration) -> Self {
        Self {
            gate: dir.join("lock"),
            runs: dir.join("runs-locks"),
            patience,
            held: Mutex::default(),
        }
    }

    /// Does a short thing while no other process does one.
    pub(crate) fn behind_gate<T>(
        &self,
        work: impl FnOnce() -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        let gate = private_file(&self.gate)?;
        let began = Instant::now();
        while !try_lock(&gate)? {
            if began.elapsed() >= self.patience {
                return Err(DatabaseError::Busy(self.patience.as_secs()));
            }
            std::thread::sleep(PAUSE);
        }
        work()
    }

    /// Takes the run's lock for as long as this process lives, unless another one has it.
    pub(crate) fn hold(&self, run: &RunId) -> Result<bool, DatabaseError> {
        let mut held = self.held.lock();
        if held.contains_key(run) {
            return Ok(true);
        }
        let taken = self.behind_gate(|| {
            make_dir(&self.runs)?;
            self.sweep()?;
            let file = private_file(&self.file_of(run))?;
            Ok(try_lock(&file)?.then_some(file))
        })?;
        let is_taken = taken.is_some();
        held.extend(taken.map(|file| (run.clone(), file)));
        Ok(is_taken)
    }

    /// Returns whether a live process has the run's lock.
    pub(crate) fn is_held(&self, run: &RunId) -> Result<bool, DatabaseError> {
        // Behind the gate, as looking takes the lock for a moment: somebody else who looks would see it taken.
        self.behind_gate(|| match File::open(self.file_of(run)) {
            Ok(file) => Ok(!try_lock(&file)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        })
    }

    /// Deletes the lock files of processes that are gone.
    fn sweep(&self) -> Result<(), DatabaseError> {
        for path in self.runs.read_dir_utf8()? {
            let path = path?.into_path();
            if path.extension() != Some("lock") {
                continue;
            }
            if try_lock(&File::open(&path)?)? {
                std::fs::remove_file(&path)?;
            }
        }
        Ok(())
    }

    fn file_of(&self, run: &RunId) -> Utf8PathBuf {
        self.runs.join(format!("{run}.lock"))
    }
}

/// Makes a directory that nobody else can look into, unless there is one.
pub(crate) fn make_dir(dir: &Utf8Path) -> Result<(), DatabaseError> {
    match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(DatabaseError::NotADirectory(dir.to_string()))
        }
        other => Ok(other?),
    }
}

/// Opens a file that nobody else can read, and makes it when there is none.
pub(crate) fn private_file(path: &Utf8Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
