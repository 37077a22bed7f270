//! The simulated way to the boxes: it takes time, and it breaks before or after what it carried was done.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use model::{
    build::{BUILD_PATH, FACTS, PLACE, SAME_PATH},
    error::RemoteError,
    jobs::{CONFIG_VARIABLE, RUNNER},
    limits::{Budget, Limits},
    name::Label,
    render::{GATE_ANSWER_PATH, TWOLANE_BOX_PATH},
    source::{Source, Synced},
    time::between,
    world::{Command, Fetched, Keys, Output, Progress, Remote, Session, Target},
};

use crate::{
    boxes::{COMPILED_FROM, Said, SimBox},
    clock::SimClock,
    cloud::{Clouds, SimCloud, TIME_OUT},
    faults::{Bug, Faults},
    jobs::SimJobs,
    journal::Disk,
    keys::KeyStore,
    record::Observation,
};

/// The way to all boxes of a simulation.
#[derive(Clone)]
pub struct SimRemote {
    /// Who calls.
    process: u32,
    /// The disk of the caller's machine.
    disk: Disk,
    /// The last edit of the sources there.
    sources: Arc<AtomicU64>,
    clouds: Clouds,
    keys: KeyStore,
    clock: SimClock,
    bug: Option<Bug>,
    /// Who gives jobs to the runners that are started there.
    jobs: Option<SimJobs>,
}

impl SimRemote {
    /// Makes the way of a process to the boxes of these providers.
    pub fn new(
        (process, disk, sources): (u32, Disk, Arc<AtomicU64>),
        clouds: Clouds,
        keys: KeyStore,
        bug: Option<Bug>,
        clock: SimClock,
    ) -> Self {
        Self {
            process,
            disk,
            sources,
            clouds,
            keys,
            clock,
            bug,
            jobs: None,
        }
    }

    /// Says who gives jobs to the runners that are started there.
    pub fn with_jobs(self, jobs: Option<SimJobs>) -> Self {
        Self { jobs, ..self }
    }

    /// Lets a runner program on a box end when its job does.
    fn let_runner_end(&self, address: IpAddr) {
        let Some(jobs) = &self.jobs else { return };
        let ends = jobs.ends(address);
        for cloud in self.clouds.values() {
            cloud.inside(address, |inside| inside.set_runner_end(ends));
        }
    }

    /// Tells the job service which runner program was started, and with what.
    fn maybe_started(&self, arguments: &[String], stdin: &str, said: &Said, address: IpAddr) {
        let is_start = matches!(arguments, [order, _, check, ..] if order == "start" && check == RUNNER);
        let has_started = matches!(said, Said::Answer(answer) if answer == b"started");
        let configuration = stdin.rsplit_once(&format!("{CONFIG_VARIABLE}='"));
        if let (true, Some(jobs), Some((_, rest))) = (is_start && has_started, &self.jobs, configuration) {
            jobs.started(rest.trim_end().trim_end_matches('\''), address);
        }
    }

    /// Records that the process calls a box that is dead, if so. Whoever calls one is not answered for a while.
    async fn call_if_dead(&self, label: &Label, address: IpAddr) {
        let Some(cloud) = self
            .clouds
            .values()
            .find(|cloud| cloud.dead_for(address).is_some())
        else {
            return;
        };
        let note = || {
            let Some(dead) = cloud.dead_for(address) else {
                return;
            };
            cloud.record.record(Observation::CalledDead {
                process: self.process,
                label: label.clone(),
                dead,
            });
        };
        note();
        self.clock.pass(TIME_OUT).await;
        note();
    }

    /// Records that the process calls a box whose deadline is over, if so.
    fn called(&self, label: &Label) {
        let Some(deadline) = self.disk.deadline(label) else {
            return;
        };
        let now = self.clock.true_now();
        if let Some(cloud) = self.clouds.values().next().filter(|_| deadline.is_over(now)) {
            cloud.record.record(Observation::CalledLate {
                process: self.process,
                label: label.clone(),
                late: between(deadline.moment(), now),
            });
        }
    }

    fn faults(&self) -> Arc<Faults> {
        let cloud = self.clouds.values().next();
        cloud.map(SimCloud::faults).unwrap_or_default()
    }

    /// Refuses to write keys on a disk that is full.
    fn write(&self) -> Result<(), RemoteError> {
        match self.faults().is_disk_full(self.clock.elapsed()) {
            true => Err(RemoteError::Here("no space left on device".to_owned())),
            false => Ok(()),
        }
    }

    fn cloud_at(&self, address: IpAddr) -> Option<&SimCloud> {
        self.clouds
            .values()
            .find(|cloud| cloud.inside(address, |_| ()).is_some())
    }
}

#[async_trait]
impl Remote for SimRemote {
    async fn keys(&self, label: &Label) -> Result<Keys, RemoteError> {
        self.clock.call().await;
        if !self.keys.has(label) {
            self.write()?;
        }
        Ok(self.keys.keys(label))
    }

    async fn connect(&self, target: &Target) -> Result<Arc<dyn Session>, RemoteError> {
        self.clock.call().await;
        self.called(&target.label);
        self.call_if_dead(&target.label, target.address).await;
        self.clock
            .pass(
                self.clock
                    .length(Duration::from_millis(100), Duration::from_secs(2)),
            )
            .await;
        let unreachable = || RemoteError::Unreachable("connection refused".to_owned());
        if self.clock.happens(self.faults().times_out) {
            self.clock.pass(TIME_OUT).await;
            return Err(RemoteError::Unreachable("no answer in time".to_owned()));
        }
        let cloud = self.cloud_at(target.address).ok_or_else(unreachable)?;
        let now = self.clock.elapsed();
        if cloud.inside(target.address, |inside| inside.is_mute(now)) == Some(true) {
            cloud.record.record(Observation::CalledMute {
                process: self.process,
                address: target.address,
            });
            return Err(RemoteError::Mute {
                greeted: self.clock.happens(500),
                why: "it closes each connection".to_owned(),
            });
        }
        let host_key = cloud
            .inside(target.address, |inside| {
                inside.host_key(self.clock.elapsed()).to_owned()
            })
            .ok_or_else(unreachable)?;
        if !self.keys.is_pinned(&target.label, &host_key) {
            return Err(RemoteError::Impostor(host_key));
        }
        self.clock.call().await;
        Ok(Arc::new(SimSession {
            way: self.clone(),
            label: target.label.clone(),
            cloud: cloud.clone(),
            address: target.address,
            clock: self.clock.clone(),
            bug: self.bug,
        }))
    }

    async fn pin(&self, label: &Label, host_keys: &[String]) -> Result<(), RemoteError> {
        self.clock.call().await;
        self.write()?;
        self.keys.pin(label, host_keys);
        Ok(())
    }

    async fn forget(&self, label: &Label) -> Result<(), RemoteError> {
        self.clock.call().await;
        self.keys.forget(label);
        Ok(())
    }
}

struct SimSession {
    way: SimRemote,
    label: Label,
    cloud: SimCloud,
    address: IpAddr,
    clock: SimClock,
    bug: Option<Bug>,
}

impl SimSession {
    /// Carries something to the box and back.
    async fn carry<T>(&self, work: impl FnOnce(&mut SimBox, &Faults) -> T) -> Result<T, RemoteError> {
        self.clock.call().await;
        self.way.called(&self.label);
        self.way.call_if_dead(&self.label, self.address).await;
        self.clock
            .pass(
                self.clock
                    .length(Duration::from_millis(10), Duration::from_millis(300)),
            )
            .await;
        let lost = || RemoteError::Lost("broken pipe".to_owned());
        let faults = self.cloud.faults();
        self.maybe_lose(&faults).await?;
        let done = self
            .cloud
            .inside(self.address, |inside| work(inside, &faults))
            .ok_or_else(lost)?;
        self.clock.call().await;
        self.maybe_lose(&faults).await?;
        Ok(done)
    }

    /// Loses the connection, at once or after a silence.
    async fn maybe_lose(&self, faults: &Faults) -> Result<(), RemoteError> {
        if self.clock.happens(faults.connection_lost) {
            return Err(RemoteError::Lost("broken pipe".to_owned()));
        }
        if self.clock.happens(faults.times_out) {
            self.clock.pass(TIME_OUT).await;
            return Err(RemoteError::Lost("the connection timed out".to_owned()));
        }
        Ok(())
    }

    fn disturbed(&self, what: Option<String>) {
        if let Some(what) = what {
            self.cloud.record.record(Observation::Disturbed { what });
        }
    }

    /// Asks the box's tool, which waits for news for so many seconds at most.
    async fn ask(&self, arguments: &[String], stdin: &[u8]) -> Result<Output, RemoteError> {
        let command = String::from_utf8_lossy(stdin);
        let patience = match arguments.first().map(String::as_str) {
            Some("wait-stage1" | "follow") => arguments.last().and_then(|it| it.parse().ok()).unwrap_or(0),
            _ => 0,
        };
        let end = self.clock.elapsed() + Duration::from_secs(patience);
        loop {
            self.way.let_runner_end(self.address);
            match self
                .carry(|inside, faults| {
                    let what = inside.starts_beside(arguments, self.clock.elapsed(), self.bug);
                    self.disturbed(what);
                    if let Some(what) = inside.runs_stale(arguments, &command) {
                        self.cloud.record.record(Observation::RanStale { what });
                    }
                    let said = inside.tool((arguments, &command), &self.clock, faults, self.bug);
                    self.way.maybe_started(arguments, &command, &said, self.address);
                    said
                })
                .await?
            {
                Said::Answer(stdout) => {
                    return Ok(Output {
                        code: Some(0),
                        stdout,
                        stderr: Vec::new(),
                    });
                }
                Said::Fails(why) => {
                    return Ok(Output {
                        code: Some(1),
                        stdout: Vec::new(),
                        stderr: why.into_bytes(),
                    });
                }
                Said::NotBefore(_) if self.clock.elapsed() >= end => return Ok(self.nothing_new(arguments)),
                Said::NotBefore(at) => {
                    let until = at.min(end).saturating_sub(self.clock.elapsed());
                    self.clock.pass(until.max(Duration::from_millis(1))).await;
                }
            }
        }
    }

    /// What the tool says when its patience is over.
    fn nothing_new(&self, arguments: &[String]) -> Output {
        let stdout = match arguments {
            [command, _, _, offset, _] if command == "follow" => {
                let (state, end) = match self.bug {
                    Some(Bug::TakesSilenceForPassed) => {
                        ("ended", "result=success code=exited status=0 ended=2")
                    }
                    _ => ("running", "result= code= status= ended="),
                };
                format!(
                    "state={state} offset={offset} bytes=0 size={offset} {end} begun=1 boot=b1 boot_now=b1\n"
                )
            }
            _ => String::new(),
        };
        Output {
            code: Some(0),
            stdout: stdout.into_bytes(),
            stderr: Vec::new(),
        }
    }
}

#[async_trait]
impl Session for SimSession {
    async fn run(&self, command: &Command) -> Result<Output, RemoteError> {
        let arguments: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        match arguments[..] {
            [TWOLANE_BOX_PATH, ..] => self.ask(&command.argv[1..], &command.stdin).await,
            ["sh", "-c", script @ (FACTS | SAME_PATH | PLACE), ..] => {
                let work = |inside: &mut SimBox, _: &Faults| match script {
                    FACTS => b"architecture=x86_64\nglibc=2.36\n".to_vec(),
                    SAME_PATH => {
                        inside.take_path();
                        Vec::new()
                    }
                    _ => {
                        inside.place_programs();
                        Vec::new()
                    }
                };
                let stdout = self.carry(work).await?;
                Ok(Output {
                    code: Some(0),
                    stdout,
                    ..Output::default()
                })
            }
            ["cat", GATE_ANSWER_PATH] => {
                let stdout = self
                    .carry(|inside, _| inside.gate_answer(self.bug).into_bytes())
                    .await?;
                Ok(Output {
                    code: Some(0),
                    stdout,
                    stderr: Vec::new(),
                })
            }
            _ => {
                if let ["sh", "-c", _, "sh", TWOLANE_BOX_PATH, _, run, ref own @ ..] = arguments[..] {
                    let now = self.clock.elapsed();
                    self.carry(|inside, _| inside.take_over(run, own, now)).await?;
                } else {
                    self.carry(|_, _| ()).await?;
                }
                Ok(Output {
                    code: Some(0),
                    ..Output::default()
                })
            }
        }
    }

    async fn sync(&self, _: &Source, _: &dyn Progress) -> Result<Synced, RemoteError> {
        self.clock
            .pass(self.clock.length(Duration::from_secs(1), Duration::from_secs(20)))
            .await;
        let (now, edit) = (self.clock.elapsed(), self.way.sources.load(Ordering::Relaxed));
        let has_changed = self
            .carry(|inside, _| {
                if self.bug == Some(Bug::HidesEdits) && inside.has_sources() {
                    return false;
                }
                let (has_changed, under) = inside.take_sources(edit, now);
                self.disturbed(under);
                has_changed
            })
            .await?;
        Ok(Synced {
            files: 3,
            sent: if has_changed { 3 } else { 0 },
            deleted: 0,
            bytes: 300,
        })
    }

    async fn send_dir(&self, from: &Utf8Path, to: &str, _: &dyn Progress) -> Result<Synced, RemoteError> {
        self.clock
            .pass(self.clock.length(Duration::from_secs(1), Duration::from_secs(20)))
            .await;
        let edit = from
            .file_name()
            .and_then(|name| name.strip_prefix(COMPILED_FROM)?.parse().ok());
        let now = self.clock.elapsed();
        self.carry(|inside, _| match edit {
            Some(edit) if to == BUILD_PATH && self.bug != Some(Bug::KeepsOldPrograms) => {
                self.disturbed(inside.take_programs(edit, now));
            }
            _ => {}
        })
        .await?;
        Ok(Synced::default())
    }

    async fn send_files(
        &self,
        _: &[Utf8PathBuf],
        to: &str,
        progress: &dyn Progress,
    ) -> Result<Synced, RemoteError> {
        self.send_dir(Utf8Path::new("/"), to, progress).await
    }

    async fn fetch(
        &self,
        from: &[String],
        _: &Utf8Path,
        _: (&Limits, &Budget),
    ) -> Result<Fetched, RemoteError> {
        self.carry(|_, _| ()).await?;
        Ok(Fetched {
            paths: from.to_vec(),
            cut: None,
        })
    }
}
