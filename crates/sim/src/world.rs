//! One simulated world, built from one seed: providers, boxes, an operator's disk; and processes that live in it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use camino::Utf8Path;
use engine::cloud::Cloud;
use model::{
    build::{Archive, BuildOrder, Built, Program},
    machine::ResourceKind,
    name::ProviderName,
    world::{Builder, Files, Progress, Provider, Stop, World},
};
use parking_lot::Mutex;

use crate::{
    api::SimApi,
    boxes::COMPILED_FROM,
    clock::{Elapsed, SimClock},
    cloud::{Clouds, SimCloud},
    faults::{BoxEnd, Bug, Faults},
    jobs::SimJobs,
    journal::{Disk, MemoryJournal},
    keys::KeyStore,
    record::{Compilation, Observation, Record, Reported, TagPairs},
    remote::SimRemote,
};

/// What lies on one operator's machine, and outlives its processes.
#[derive(Clone, Default)]
pub struct SimMachine {
    /// The disk with the journal.
    pub disk: Disk,
    keys: KeyStore,
    /// The last edit of the sources.
    sources: Arc<AtomicU64>,
}

/// A world without any network.
pub struct Sim {
    /// Time, chance and crashes.
    pub clock: SimClock,
    /// All that was seen.
    pub record: Record,
    /// The providers.
    pub clouds: Clouds,
    /// The operators' machines. They know nothing of each other.
    pub machines: [SimMachine; 2],
    faults: Arc<Mutex<Arc<Faults>>>,
    bug: Option<Bug>,
    processes: std::cell::Cell<u32>,
    /// Who gives jobs to runners, in a world where there are any.
    pub(crate) jobs: std::cell::RefCell<Option<SimJobs>>,
    /// Those that have ended.
    over: std::cell::RefCell<BTreeSet<u32>>,
}

impl Sim {
    /// Makes a world with two providers, `alpha` that knows tokens and `beta` that does not. `box_end` is how all boxes end
    /// at the moment that the clock marks.
    pub fn new(seed: u64, bug: Option<Bug>, box_end: Option<BoxEnd>) -> Self {
        let clock = SimClock::new(seed);
        let record = Record::new(clock.clone());
        let faults = Arc::new(Mutex::new(Arc::new(Faults::default())));
        let cloud = |name: &str, has_tokens: bool| {
            let name = ProviderName::new(name).expect("it is a name");
            let cloud = SimCloud::new(
                name.clone(),
                has_tokens,
                box_end,
                Arc::clone(&faults),
                record.clone(),
            );
            (name, cloud)
        };
        let clouds = Clouds::from([cloud("alpha", true), cloud("beta", false)]);
        Self {
            clock,
            record,
            clouds,
            machines: Default::default(),
            faults,
            bug,
            processes: 0.into(),
            jobs: None.into(),
            over: BTreeSet::new().into(),
        }
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.clock.set_wall_clock(faults.sleeps, faults.clock_steps);
        *self.faults.lock() = Arc::new(faults);
    }

    /// Returns what goes wrong at present.
    pub fn faults(&self) -> Arc<Faults> {
        self.faults.lock().clone()
    }

    /// Puts boxes there that are not ours: with names like ours and no tag, with the tag switched off, and one of
    /// somebody else's live run.
    pub fn settle_foreigners(&self, label: &str) {
        let tags = |pairs: &[(&str, &str)]| -> TagPairs {
            pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect()
        };
        for cloud in self.clouds.values() {
            cloud.put(label, ResourceKind::Machine, TagPairs::new());
            cloud.put(
                &format!("{label}-2"),
                ResourceKind::Disk,
                tags(&[("mvm-ephemeral", "false"), ("mvm-label", label)]),
            );
            let theirs = [
                ("mvm-ephemeral", "true"),
                ("mvm-label", "theirs"),
                ("mvm-run", "their-run"),
                ("mvm-token", "their-token"),
                ("mvm-deadline", "4000000000"),
            ];
            cloud.put("theirs", ResourceKind::Machine, tags(&theirs));
        }
    }

    /// Begins a process: the world as it sees it. `stop` is when its user asks it to stop, from now on.
    pub fn process(&self, machine: usize, stop: Option<Duration>) -> (u32, World) {
        let SimMachine { disk, keys, sources } = &self.machines[machine];
        let process = self.processes.get() + 1;
        self.processes.set(process);
        self.record.record(Observation::Began { process, machine });
        let provider = |cloud: &SimCloud| -> Arc<dyn Provider> {
            let api = SimApi::new(cloud.clone(), keys.clone(), process, self.bug);
            Arc::new(Cloud::new(Arc::new(api), Arc::new(self.clock.clone())))
        };
        let providers: BTreeMap<_, _> = self
            .clouds
            .iter()
            .map(|(name, cloud)| (name.clone(), provider(cloud)))
            .collect();
        let journal = MemoryJournal {
            disk: disk.clone(),
            process,
            clock: self.clock.clone(),
            record: self.record.clone(),
            clouds: self.clouds.clone(),
            bug: self.bug,
        };
        let stop = stop.map(|after| self.clock.elapsed() + after);
        if let Some(at) = stop {
            self.record.record(Observation::StopsAt { process, at });
        }
        let world = World {
            providers,
            remote: Arc::new(
                SimRemote::new(
                    (process, disk.clone(), sources.clone()),
                    self.clouds.clone(),
                    keys.clone(),
                    self.bug,
                    self.clock.clone(),
                )
                .with_jobs(self.jobs.borrow().clone()),
            ),
            journal: Arc::new(journal),
            clock: Arc::new(self.clock.clone()),
            events: Arc::new(Reported {
                process,
                record: self.record.clone(),
            }),
            stop: Arc::new(SimStop {
                clock: self.clock.clone(),
                at: stop,
            }),
            builder: Arc::new(SimBuilder {
                process,
                clock: self.clock.clone(),
                record: self.record.clone(),
                faults: Arc::clone(&self.faults),
                sources: sources.clone(),
            }),
            files: Arc::new(SimFiles {
                clock: self.clock.clone(),
                faults: Arc::clone(&self.faults),
            }),
            runs: "/state/runs".into(),
            environment: [("SIM_VARIABLE".to_owned(), "secret".to_owned())].into(),
        };
        (process, world)
    }

    /// Returns what asks to stop after so much time, or never.
    pub(crate) fn stop(&self, after: Option<Duration>) -> impl Stop + use<> {
        SimStop {
            clock: self.clock.clone(),
            at: after.map(|after| self.clock.elapsed() + after),
        }
    }

    /// Ends a process, unless it has ended: the kernel lets go of what it held.
    pub fn reap_process(&self, process: u32, is_killed: bool) {
        if !self.over.borrow_mut().insert(process) {
            return;
        }
        self.record.record(if is_killed {
            Observation::Killed { process }
        } else {
            Observation::Over { process }
        });
        for machine in &self.machines {
            machine.disk.release(process);
        }
    }

    /// Sets the operator's clock off, as often as the faults say.
    pub fn maybe_jump(&self) {
        if self.clock.happens(self.faults().clock_jumps) {
            self.clock.jump_somewhere();
        }
    }
}

struct SimStop {
    clock: SimClock,
    at: Option<Elapsed>,
}

#[async_trait]
impl Stop for SimStop {
    async fn asked(&self) {
        match self.at {
            Some(at) => self.clock.pass(at.saturating_sub(self.clock.elapsed())).await,
            None => std::future::pending().await,
        }
    }

    fn is_asked(&self) -> bool {
        self.at.is_some_and(|at| at <= self.clock.elapsed())
    }
}

/// Compiles for a while, and not always well. Meanwhile its operator edits the sources.
struct SimBuilder {
    process: u32,
    clock: SimClock,
    record: Record,
    faults: Arc<Mutex<Arc<Faults>>>,
    sources: Arc<AtomicU64>,
}

/// Records how a compilation ended: as it was set, or stopped by who does not wait for it any more.
struct Compiling<'a> {
    builder: &'a SimBuilder,
    end: Compilation,
}

impl Drop for Compiling<'_> {
    fn drop(&mut self) {
        let (process, end) = (self.builder.process, self.end);
        self.builder.record.record(Observation::Compiled { process, end });
    }
}

#[async_trait]
impl Builder for SimBuilder {
    async fn build(&self, order: &BuildOrder, progress: &dyn Progress) -> Result<Built, String> {
        progress.report("compiling", None);
        let process = self.process;
        self.record.record(Observation::Compiles { process });
        let mut compiling = Compiling {
            builder: self,
            end: Compilation::Stopped,
        };
        let faults = self.faults.lock().clone();
        let edit = self.sources.load(Ordering::Relaxed);
        let half = self
            .clock
            .length(Duration::from_millis(500), Duration::from_secs(200));
        self.clock.pass(half).await;
        if self.clock.happens(faults.edits) {
            self.sources.fetch_add(1, Ordering::Relaxed);
        }
        self.clock.pass(half).await;
        if self.clock.happens(faults.build_refused) {
            compiling.end = Compilation::Refused;
            return Err("cargo-nextest is not installed on this machine".to_owned());
        }
        let archive = |_| match self.clock.happens(faults.build_mistakes) {
            true => Err("error: could not compile `mvm` (lib test)".to_owned()),
            false => Ok(archive(edit)),
        };
        let archives: Vec<_> = order.archives.iter().map(archive).collect();
        compiling.end = Compilation::Done {
            has_mistakes: archives.iter().any(Result::is_err),
        };
        let has_newer_glibc = self.clock.happens(faults.build_refused);
        Ok(Built {
            dir: format!("/cache/build/{COMPILED_FROM}{edit}").into(),
            there: "/src/mvm/target".into(),
            architecture: "x86_64".to_owned(),
            glibc: Some((2, if has_newer_glibc { 41 } else { 34 })),
            archives,
        })
    }
}

fn archive(edit: u64) -> Archive {
    let program = Program {
        title: format!("tests/live.rs (target/debug/deps/{COMPILED_FROM}{edit})"),
        path: "debug/deps/live".into(),
        directory: "/src/mvm".into(),
        environment: Vec::new(),
    };
    Archive {
        programs: vec![program],
        ..Archive::default()
    }
}

struct SimFiles {
    clock: SimClock,
    faults: Arc<Mutex<Arc<Faults>>>,
}

#[async_trait]
impl Files for SimFiles {
    async fn write(&self, _: &Utf8Path, _: &[u8]) -> Result<(), String> {
        self.clock.call().await;
        let faults = self.faults.lock().clone();
        match faults.is_disk_full(self.clock.elapsed()) {
            true => Err("no space left on device".to_owned()),
            false => Ok(()),
        }
    }
}
