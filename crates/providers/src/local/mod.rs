//! Boxes on this machine: each is a QEMU process, and a directory that holds all that belongs to it.

mod accel;
mod error;
mod health;
mod image;
mod instance_type;
mod inventory;
mod network;
mod preflight;
mod process;
mod programs;
mod qemu;
mod qmp;
mod seed;
mod settings;
mod space;
mod store;
mod template;

use std::net::{IpAddr, Ipv4Addr};

use async_trait::async_trait;
use camino::Utf8PathBuf;
use model::{
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Gone, Health, Listed, Machine, ResourceKind},
    money::Money,
    name::{Label, ProviderName, RunId},
    order::Order,
    profile::Profile,
    selector::Selector,
    time::Deadline,
    world::{Console, Listing, OwnDeadline, Preflight, Prices, Progress, Provider},
};

pub use accel::Acceleration;
pub use error::NAME;
pub use image::{Image, Release};
pub use inventory::{CacheKind, Cached, Prune, cached, prune};
pub use programs::Programs;
pub use settings::LocalSettings;

use instance_type::InstanceType;
use network::Reach;
use qemu::Role;
use store::Record;
use template::{NoClone, Template};

pub(crate) use error::LocalError;
pub(crate) use programs::path_of;
pub(crate) use store::{BoxDir, Lock};

/// The only region there is.
const REGION: &str = "local";

/// Size of a disk of an order that names none, and the smallest one.
const DISK_GB: u32 = 20;

/// How many ports are tried when others keep taking them.
const PORTS_MAX: u32 = 5;

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "it is a process of this machine and ends with it; if only twolane dies, a watchdog process \
     beside the box's QEMU kills it at the deadline and deletes its disk";

/// Gives boxes on this machine.
#[derive(Debug)]
pub struct Local {
    state_dir: Utf8PathBuf,
    cache_dir: Utf8PathBuf,
    settings: LocalSettings,
    probe: accel::Probe,
    profile: Profile,
}

impl Local {
    /// Keeps boxes in `state_dir` and base images in `cache_dir`. Touches neither yet.
    pub fn new(state_dir: Utf8PathBuf, cache_dir: Utf8PathBuf, settings: LocalSettings) -> Self {
        let absolute = |path: Utf8PathBuf| camino::absolute_utf8(&path).unwrap_or(path);
        let cache_dir = absolute(cache_dir);
        Self {
            state_dir: absolute(state_dir),
            settings,
            probe: accel::Probe::kept_in(cache_dir.join("kvm.json")),
            cache_dir,
            profile: Profile {
                has_own_network: false,
                // A box is made within this process: what its death left is there to be found at once.
                can_turn_up_late: false,
                ..Profile::new(NAME, &[(instance_type::DEFAULT, REGION)], DEAD_MANS_SWITCH)
            },
        }
    }

    async fn make(&self, order: &Order, progress: &dyn Progress) -> Result<Machine, LocalError> {
        let size = InstanceType::parse(&order.candidate.instance_type)?;
        check_region(&order.candidate.region)?;
        self.settings.programs.check()?;
        let directory = BoxDir::of(&self.state_dir, &order.tags.label);
        if let Some(lock) = directory.lock().await?
            && let Some(machine) = adopt(&lock, order)?
        {
            return Ok(machine);
        }
        space::check_memory(size, space::memory_available()?)?;
        let base = image::ensure(&self.cache_dir, &self.settings, &order.preinstall, progress).await?;
        space::check_disk(
            &self.state_dir,
            space::BOX_BYTES,
            space::disk_free(&self.state_dir)?,
            "a box",
        )?;
        let acceleration = self
            .probe
            .choose(self.settings.acceleration, &self.settings.programs)
            .await?;
        progress.report(&acceleration.to_string(), None);

        let vm = qemu::Vm {
            programs: &self.settings.programs,
            order,
            size,
            disk_gb: order.candidate.disk_gb.unwrap_or(DISK_GB).max(DISK_GB),
            acceleration: &acceleration,
            base: &base,
            clone_patience: self.settings.clone_patience.unwrap_or(template::CLONE_PATIENCE),
            qemu_version: self.probe.qemu_version(&self.settings.programs).await,
            reach: Reach::of(&self.settings),
        };
        let template = self.template(&vm, progress).await;

        let lock = directory.make_and_lock().await?;
        if let Some(machine) = adopt(&lock, order)? {
            return Ok(machine);
        }
        match start(&vm, template.as_ref(), &lock, progress).await {
            Ok(record) => Ok(machine_of(&order.tags.label, &record)),
            Err(error) => {
                qemu::end(directory.path()).await?;
                lock.delete()?;
                Err(error)
            }
        }
    }

    /// Returns the template of the box, where it can have one.
    async fn template(&self, vm: &qemu::Vm<'_>, progress: &dyn Progress) -> Option<Template> {
        let parts = vm.order.parts.as_ref().filter(|_| !self.settings.is_cold)?;
        let template = template::ensure(&self.cache_dir, vm, parts, progress).await;
        // What cannot be deleted is no reason to have no box.
        let old = Prune::OlderTemplates(inventory::TEMPLATE_AGE);
        for gone in prune(&self.cache_dir, old).unwrap_or_default() {
            progress.report(&format!("deleted {}, unused for long", gone.key), None);
        }
        template
            .inspect_err(|error| progress.report(&boots_cold(error), None))
            .ok()
    }

    /// Destroys the box of that label; with `run` only if it was made for that run.
    async fn destroy(&self, label: &Label, run: Option<&RunId>) -> Result<Vec<Gone>, LocalError> {
        let directory = BoxDir::of(&self.state_dir, label);
        let Some(lock) = directory.lock().await? else {
            // Somebody has deleted the directory; QEMU may run on without it.
            let ran = qemu::end(directory.path()).await?;
            return Ok(gone(label, ran, false, &directory));
        };
        if directory.record().is_some_and(|record| !record.is_meant(run)) {
            return Ok(Vec::new());
        }
        let has_disk = directory.file("overlay.qcow2").exists();
        let was_box = qemu::end(directory.path()).await? || directory.record().is_some();
        lock.delete()?;
        if directory.is_there() || !process::find(directory.path()).is_empty() {
            return Err(LocalError::new(
                ErrorKind::Unavailable,
                format!("{} was destroyed and is still there", directory.path()),
            ));
        }
        Ok([
            gone(label, was_box, has_disk, &directory),
            vec![Gone {
                kind: ResourceKind::Directory,
                id: directory.path().to_string(),
            }],
        ]
        .concat())
    }

    fn directory_of(&self, label: &Label) -> Result<BoxDir, LocalError> {
        let directory = BoxDir::of(&self.state_dir, label);
        if directory.is_there() {
            return Ok(directory);
        }
        Err(
            LocalError::new(ErrorKind::NotFound, format!("there is no box {label}"))
                .with_help("`twolane ls` lists them"),
        )
    }

    async fn set_deadline(&self, label: &Label, deadline: Deadline) -> Result<(), LocalError> {
        let directory = self.directory_of(label)?;
        let lock = directory.lock().await?;
        let (Some(lock), Some(mut record)) = (lock, directory.record()) else {
            return Err(LocalError::new(
                ErrorKind::NotFound,
                format!("there is no box {label}"),
            ));
        };
        record
            .tags
            .insert("mvm-deadline".to_owned(), deadline.unix().to_string());
        lock.write(&record)
    }
}

#[async_trait]
impl Provider for Local {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    async fn up(&self, order: &Order, progress: &dyn Progress) -> Result<Machine, ProviderError> {
        self.make(order, progress)
            .await
            .map_err(|e| e.during("create a box"))
    }

    async fn down(&self, selector: &Selector, _progress: &dyn Progress) -> Result<Vec<Gone>, ProviderError> {
        let destroyed = |e: LocalError| e.during("destroy a box");
        let labels = match selector {
            Selector::Label(label) | Selector::OfRun(label, _) => vec![label.clone()],
            Selector::AllOurs => {
                let all = BoxDir::all(&self.state_dir).map_err(destroyed)?;
                all.into_iter().map(|(label, _)| label).collect()
            }
        };
        let run = match selector {
            Selector::OfRun(_, run) => Some(run),
            Selector::Label(_) | Selector::AllOurs => None,
        };
        let mut gone = Vec::new();
        let mut failed = None;
        for label in labels {
            match self.destroy(&label, run).await {
                Ok(more) => gone.extend(more),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(destroyed(error)),
            None => Ok(gone),
        }
    }

    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        let refusal = match InstanceType::parse(instance_type) {
            Err(error) => error,
            Ok(_) if need == KvmNeed::Metal => LocalError::new(
                ErrorKind::NoKvm,
                "a local box is a virtual machine, and the lane asks for hardware",
            )
            .with_help("set `kvm = \"required\"`, or add a provider of bare metal to `boxes`"),
            Ok(_) => return None,
        };
        Some(refusal.during("create a box"))
    }

    async fn health(&self, machine: &Machine) -> Result<Health, ProviderError> {
        Ok(health::of(
            &machine.label,
            &BoxDir::of(&self.state_dir, &machine.label),
        ))
    }

    fn listing(&self) -> Option<&dyn Listing> {
        Some(self)
    }

    fn preflight(&self) -> Option<&dyn Preflight> {
        Some(self)
    }

    fn prices(&self) -> Option<&dyn Prices> {
        Some(self)
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }

    fn own_deadline(&self) -> Option<&dyn OwnDeadline> {
        Some(self)
    }
}

#[async_trait]
impl Listing for Local {
    async fn list(&self) -> Result<Vec<Listed>, ProviderError> {
        let all = BoxDir::all(&self.state_dir).map_err(|e| e.during("list boxes"))?;
        Ok(all
            .iter()
            .filter_map(|(label, directory)| listed(label, directory))
            .collect())
    }
}

/// This machine is there anyway.
impl Prices for Local {
    fn hourly(&self, _: &str, _: &str) -> Option<(Money, String)> {
        let nothing = Money {
            micros: 0,
            currency: "USD".to_owned(),
        };
        Some((nothing, String::new()))
    }
}

#[async_trait]
impl Console for Local {
    async fn console(&self, label: &Label) -> Result<Vec<u8>, ProviderError> {
        let read = || {
            let file = self.directory_of(label)?.file("console.log");
            match std::fs::read(&file) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
                read => read.map_err(|e| LocalError::system(format!("read {file}"), e)),
            }
        };
        read().map_err(|e| e.during("read the console"))
    }
}

#[async_trait]
impl OwnDeadline for Local {
    async fn move_deadline(&self, label: &Label, deadline: Deadline) -> Result<(), ProviderError> {
        self.set_deadline(label, deadline)
            .await
            .map_err(|e| e.during("move the deadline"))
    }
}

/// Returns the box that exists already when it is the one that is ordered.
fn adopt(lock: &Lock, order: &Order) -> Result<Option<Machine>, LocalError> {
    let directory = lock.directory();
    let Some(record) = directory.record() else {
        return Ok(None);
    };
    let label = &order.tags.label;
    let theirs = record.parsed_tags();
    if theirs.as_ref().is_none_or(|tags| tags.run != order.tags.run) {
        let owner = theirs.map_or_else(|| "something else".to_owned(), |tags| format!("run {}", tags.run));
        return Err(
            LocalError::new(ErrorKind::Taken, format!("the label {label} belongs to {owner}")).with_help(
                format!("choose another label, or destroy that box: twolane down {label}"),
            ),
        );
    }
    let runs = !record.is_waking && !process::find(directory.path()).is_empty();
    Ok(runs.then(|| machine_of(label, &record)))
}

fn boots_cold(error: &LocalError) -> String {
    format!("this box boots by itself: {}", error.cause)
}

/// Starts the box in its locked directory. What a killed attempt of the same run left there goes first.
async fn start(
    vm: &qemu::Vm<'_>,
    template: Option<&Template>,
    lock: &Lock,
    progress: &dyn Progress,
) -> Result<Record, LocalError> {
    if let Some(template) = template {
        match start_clone(vm, template, lock, progress).await {
            Ok(record) => return Ok(record),
            Err(NoClone::PortTaken) => return Err(no_port()),
            Err(NoClone::Otherwise(error)) => return Err(error),
            Err(NoClone::Template(error)) => {
                template.put_aside();
                progress.report(&boots_cold(&error), None);
            }
        }
    }
    let mut record = begin(vm, lock, false).await?;
    vm.make_disks(lock).await?;
    for _ in 0..PORTS_MAX {
        take_port(&mut record, lock)?;
        match vm.start(Role::Box, lock.directory(), record.port).await {
            Ok(()) => return Ok(record),
            Err(qemu::Failed::PortTaken) => report_port(progress),
            Err(qemu::Failed::Otherwise(error)) => return Err(error),
        }
    }
    Err(no_port())
}

/// Starts the box as a clone of a template. Until it knows who it is, nobody adopts it.
async fn start_clone(
    vm: &qemu::Vm<'_>,
    template: &Template,
    lock: &Lock,
    progress: &dyn Progress,
) -> Result<Record, NoClone> {
    let mut record = begin(vm, lock, true).await.map_err(NoClone::Otherwise)?;
    vm.make_clone_disk(lock, template.directory())
        .await
        .map_err(NoClone::Template)?;
    for _ in 0..PORTS_MAX {
        take_port(&mut record, lock).map_err(NoClone::Otherwise)?;
        match template::clone(vm, lock, template, record.port).await {
            Ok(()) => {
                record.is_waking = false;
                lock.write(&record).map_err(NoClone::Otherwise)?;
                return Ok(record);
            }
            Err(NoClone::PortTaken) => report_port(progress),
            Err(error) => return Err(error),
        }
    }
    Err(NoClone::PortTaken)
}

/// Empties the directory, and writes whose it is.
async fn begin(vm: &qemu::Vm<'_>, lock: &Lock, is_waking: bool) -> Result<Record, LocalError> {
    qemu::end(lock.directory().path()).await?;
    lock.empty()?;
    let record = Record {
        version: 1,
        tags: vm.order.tags.pairs(),
        instance_type: vm.size.to_string(),
        port: 0,
        note: format!("{}; {}", vm.acceleration, vm.reach),
        is_waking,
    };
    lock.write(&record)?;
    Ok(record)
}

fn take_port(record: &mut Record, lock: &Lock) -> Result<(), LocalError> {
    record.port = qemu::free_port()?;
    lock.write(record)
}

fn report_port(progress: &dyn Progress) {
    progress.report("the port was taken meanwhile, trying another", None);
}

fn no_port() -> LocalError {
    LocalError::new(
        ErrorKind::Unavailable,
        format!("{PORTS_MAX} free ports of 127.0.0.1 in a row were taken by others before QEMU had them"),
    )
}

fn machine_of(label: &Label, record: &Record) -> Machine {
    Machine {
        label: label.clone(),
        provider: ProviderName::new(NAME).expect("it keeps to the rule"),
        id: label.to_string(),
        region: REGION.to_owned(),
        instance_type: record.instance_type.clone(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: record.port,
        jump: None,
        host_key: None,
        note: Some(record.note.clone()),
    }
}

/// Returns how a directory is listed; none when it holds something that is not ours.
fn listed(label: &Label, directory: &BoxDir) -> Option<Listed> {
    let record = directory.record();
    if record.as_ref().is_some_and(|record| !record.is_ours()) {
        return None;
    }
    let runs = !process::find(directory.path()).is_empty();
    Some(Listed {
        kind: ResourceKind::Machine,
        id: label.to_string(),
        region: REGION.to_owned(),
        tags: record.as_ref().and_then(Record::parsed_tags),
        state: if runs { "running" } else { "stopped" }.to_owned(),
        address: runs.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        instance_type: record.map(|record| record.instance_type),
    })
}

fn gone(label: &Label, was_box: bool, had_disk: bool, directory: &BoxDir) -> Vec<Gone> {
    let machine = was_box.then(|| Gone {
        kind: ResourceKind::Machine,
        id: label.to_string(),
    });
    let disk = had_disk.then(|| Gone {
        kind: ResourceKind::Disk,
        id: directory.file("overlay.qcow2").into_string(),
    });
    machine.into_iter().chain(disk).collect()
}

fn check_region(region: &str) -> Result<(), LocalError> {
    if region == REGION {
        return Ok(());
    }
    Err(LocalError::invalid(format!("`local` has no region `{region}`")).with_help("leave `region` out"))
}
