//! `world::Journal` over SQLite: what may exist is on the disk before it exists. Several processes may use one journal
//! at once. What the entries mean is the model's business.

mod broken;
mod database;
mod lock;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use model::{
    error::JournalError,
    journal::{Entry, Fact},
    name::RunId,
    world::{self, Clock},
};
use parking_lot::Mutex;

use crate::{
    broken::{At, DatabaseError},
    database::Database,
    lock::Locks,
};

/// How long to wait for another process that is writing.
const PATIENCE: Duration = Duration::from_secs(10);

/// The journal of one state directory.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    path: Utf8PathBuf,
    database: Mutex<Database>,
    locks: Locks,
    clock: Arc<dyn Clock>,
}

impl Journal {
    /// Opens the journal of a state directory; makes both when there are none. Blocks for a few milliseconds,
    /// and for some seconds when another process makes it right now.
    pub fn open(dir: &Utf8Path, clock: Arc<dyn Clock>) -> Result<Self, JournalError> {
        Self::open_within(dir, clock, PATIENCE)
    }

    fn open_within(dir: &Utf8Path, clock: Arc<dyn Clock>, patience: Duration) -> Result<Self, JournalError> {
        let path = dir.join("journal.db");
        let opened = (|| {
            lock::make_dir(dir)?;
            let locks = Locks::new(dir, patience);
            let database = Database::open(&path, &locks, patience)?;
            Ok((locks, database))
        })();
        let (locks, database) = opened.map_err(|error: DatabaseError| error.at(At::Open, &path))?;
        Ok(Self {
            shared: Arc::new(Shared {
                path,
                database: Mutex::new(database),
                locks,
                clock,
            }),
        })
    }

    /// Does what blocks on a thread of its own, so that no lock and no disk holds up an await.
    async fn aside<T: Send + 'static>(
        &self,
        at: At,
        work: impl FnOnce(&Shared) -> Result<T, DatabaseError> + Send + 'static,
    ) -> Result<T, JournalError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|stopped| Err(DatabaseError::Stopped(stopped.to_string())))
            .map_err(|error| error.at(at, &self.shared.path))
    }
}

impl Shared {
    fn with_database<T>(
        &self,
        work: impl FnOnce(&mut Database) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        // SQLite rolls back what a panic left half-done, so that the connection can be used again.
        work(&mut self.database.lock())
    }
}

#[async_trait]
impl world::Journal for Journal {
    async fn append(&self, run: &RunId, fact: Fact) -> Result<(), JournalError> {
        let run = run.clone();
        self.aside(At::Write, move |shared| {
            shared.with_database(|database| database.append(&*shared.clock, &run, &fact))
        })
        .await
    }

    async fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        self.aside(At::Read, |shared| {
            shared.with_database(|database| database.entries())
        })
        .await
    }

    async fn hold(&self, run: &RunId) -> Result<bool, JournalError> {
        let run = run.clone();
        self.aside(At::Lock, move |shared| shared.locks.hold(&run)).await
    }

    async fn is_held(&self, run: &RunId) -> Result<bool, JournalError> {
        let run = run.clone();
        self.aside(At::Lock, move |shared| shared.locks.is_held(&run))
            .await
    }
}

#[cfg(test)]
mod tests;
