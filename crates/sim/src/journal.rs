//! A journal in memory, with the meaning of the real one: it survives its processes, and their locks do not.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use model::{
    error::JournalError,
    journal::{Entry, Fact, Holdings},
    name::{Label, RunId},
    time::Deadline,
    world::{Clock, Journal},
};
use parking_lot::{Mutex, MutexGuard};

use crate::{
    clock::SimClock,
    cloud::{Clouds, SimCloud},
    faults::Bug,
    record::{Observation, Record},
};

/// The disk of one operator's machine. All copies are the same disk.
#[derive(Clone, Default)]
pub struct Disk {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<Entry>,
    /// The entries, folded.
    holdings: Holdings,
    /// Which process has the lock of which run.
    locks: BTreeMap<RunId, u32>,
}

impl Disk {
    /// Lets go of the locks of a process that is gone, as the kernel does.
    pub fn release(&self, process: u32) {
        self.inner().locks.retain(|_, holder| *holder != process);
    }

    /// Returns what is on the disk.
    pub fn entries(&self) -> Vec<Entry> {
        self.inner().entries.clone()
    }

    /// Returns what may be owned, as the disk has it.
    pub fn holdings(&self) -> Holdings {
        self.inner().holdings.clone()
    }

    /// Returns the deadline of a box, as the disk has it.
    pub fn deadline(&self, label: &Label) -> Option<Deadline> {
        let inner = self.inner();
        inner.holdings.boxes.get(label).map(|held| held.tags.deadline)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock()
    }
}

/// The journal, as one process has it.
pub struct MemoryJournal {
    /// Where it is.
    pub disk: Disk,
    /// Who has it.
    pub process: u32,
    /// The time.
    pub clock: SimClock,
    /// Hands facts to the checkers, with what exists when they are written.
    pub record: Record,
    /// The providers, to see what is there.
    pub clouds: Clouds,
    /// A bug that it has.
    pub bug: Option<Bug>,
}

impl MemoryJournal {
    fn broken(&self, operation: &'static str) -> JournalError {
        JournalError::Broken {
            operation,
            path: "/state/journal.db".to_owned(),
            cause: "database or disk is full".to_owned(),
            help: "free some space".to_owned(),
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn fails(&self) -> bool {
        let faults = self.clouds.values().next().map(|cloud| cloud.faults());
        self.clock
            .happens(faults.map_or(0, |faults| faults.journal_fails))
    }

    fn is_full(&self) -> bool {
        let faults = self.clouds.values().next().map(|cloud| cloud.faults());
        faults.is_some_and(|faults| faults.is_disk_full(self.clock.elapsed()))
    }

    fn write(&self, run: &RunId, fact: Fact) -> Result<(), JournalError> {
        let mut inner = self.disk.inner();
        if let Fact::Intent { tags, .. } = &fact {
            if inner.holdings.is_taken(&tags.label, run) && !self.has(Bug::GivesALabelTwice) {
                return Err(JournalError::Taken(tags.label.clone()));
            }
            if self.has(Bug::LosesIntents) {
                return Ok(());
            }
        }
        if matches!(fact, Fact::Kept { .. }) && self.has(Bug::LosesWhatIsKept) {
            return Ok(());
        }
        let entry = Entry {
            at: self.clock.now(),
            run: run.clone(),
            fact: fact.clone(),
        };
        inner.holdings.take(&entry);
        inner.entries.push(entry);
        drop(inner);
        let remains = fact
            .label()
            .map(|label| remains(&self.clouds, label, run))
            .unwrap_or_default();
        self.record.record(Observation::Wrote {
            process: self.process,
            run: run.clone(),
            fact,
            remains,
        });
        Ok(())
    }
}

/// Returns what exists or is going to, at all providers, of one label and run.
fn remains(clouds: &Clouds, label: &model::name::Label, run: &RunId) -> Vec<String> {
    let of = |cloud: &SimCloud| cloud.remains(label, Some(run));
    clouds.values().flat_map(of).collect()
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn append(&self, run: &RunId, fact: Fact) -> Result<(), JournalError> {
        self.clock.call().await;
        if self.fails() || self.is_full() {
            self.record.record(Observation::NotWritten { fact });
            return Err(self.broken("write"));
        }
        self.write(run, fact)?;
        self.clock.call().await;
        Ok(())
    }

    async fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        self.clock.call().await;
        if self.fails() {
            return Err(self.broken("read"));
        }
        Ok(self.disk.entries())
    }

    async fn holdings(&self) -> Result<Holdings, JournalError> {
        self.clock.call().await;
        if self.fails() {
            return Err(self.broken("read"));
        }
        // Folded entry by entry when they were written.
        Ok(self.disk.holdings())
    }

    async fn hold(&self, run: &RunId) -> Result<bool, JournalError> {
        self.clock.call().await;
        let mut holder = *self.disk.inner().locks.entry(run.clone()).or_insert(self.process);
        if self.has(Bug::GivesALockTwice) {
            holder = self.process;
        }
        if holder == self.process {
            self.record.record(Observation::Holds {
                process: self.process,
                run: run.clone(),
            });
        }
        Ok(holder == self.process)
    }

    async fn is_held(&self, run: &RunId) -> Result<bool, JournalError> {
        self.clock.call().await;
        Ok(self.disk.inner().locks.contains_key(run))
    }
}
