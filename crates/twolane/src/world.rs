//! The real world for the engine, and those who watch what happens in it.

use std::{collections::BTreeMap, env, future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use model::{
    config,
    error::ProviderError,
    event::EventRecord,
    lane::KvmNeed,
    name::ProviderName,
    report::Report,
    world::{Events, Files, Provider, Stop, World},
};
use parking_lot::Mutex;

use ::providers::{
    Environment,
    equinix::Equinix,
    from_environment,
    host::{self, Host, HostSettings},
    local::{self, Acceleration, Image, Local, LocalSettings, Programs, Release},
    this_machine,
};
use engine::{FirstOf, cloud::Cloud};

use crate::{
    adapters::adapters,
    builder::CargoBuilder,
    clock::Clock,
    context::Context,
    known::{KnownProvider, Providers, usable},
    past,
    paths::Paths,
    problem::{Problem, Result},
    quotes,
    show::{
        Fan,
        json::Json,
        progress::{Counted, Usual},
        record::{Record, write_whole},
        standing::Standing,
        stream::Style,
        terminal::Terminal,
    },
    signals::Signals,
};

/// How long the end waits for work that nobody waits for any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs a future to its end, on threads that signals do not stop.
pub(crate) fn block_on<T>(future: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Problem::infrastructure("could not start").because(error))?;
    let outcome = runtime.block_on(future);
    runtime.shutdown_timeout(PATIENCE);
    outcome
}

/// Returns all providers that are known here. Asks none of them anything.
pub(crate) fn providers(paths: &Paths, local: &config::Local) -> Result<Providers> {
    let settings = LocalSettings {
        image: image(local.image.as_deref())?,
        mirror: local.mirror.clone(),
        acceleration: match local.acceleration {
            config::Acceleration::Auto => Acceleration::Auto,
            config::Acceleration::Kvm => Acceleration::Kvm,
            config::Acceleration::Tcg => Acceleration::Tcg,
        },
        programs: programs(local.qemu.as_deref()),
        is_cold: local.is_cold,
        network: local.network,
        allow: local.allow.clone(),
        ..LocalSettings::default()
    };
    let local_boxes = Local::new(paths.state.clone(), paths.cache.clone(), settings);
    let mut all = adapters(paths);
    all.extend(clouds());
    all.extend(known(local::NAME, Arc::new(local_boxes), None));
    let hosts = Host::new(paths.state.clone(), hosts()?);
    all.extend(known(host::NAME, Arc::new(hosts), None));
    // Nobody can use it any more: the name is known for the sake of the answer.
    all.extend(known(
        "equinix",
        Arc::new(Equinix),
        Equinix.refuse("", KvmNeed::None),
    ));
    quotes::take(&all, &paths.cache);
    Ok(all)
}

/// Returns the clouds, with what the environment holds for them.
fn clouds() -> Providers {
    let variable = |name: &str| env::var(name).ok();
    let environment = Environment {
        variable: &variable,
        machine: this_machine(),
        log: None,
    };
    let clouds = from_environment(&environment).into_iter();
    clouds
        .flat_map(|cloud| {
            let provider = Cloud::new(cloud.api, Arc::new(Clock));
            known(cloud.name.as_str(), Arc::new(provider), cloud.missing)
        })
        .collect()
}

fn known(
    name: &str,
    provider: Arc<dyn Provider>,
    missing: Option<ProviderError>,
) -> Option<(ProviderName, KnownProvider)> {
    Some((ProviderName::new(name).ok()?, KnownProvider { provider, missing }))
}

/// Returns what the environment says of machines that are already there.
fn hosts() -> Result<HostSettings> {
    let given = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let addresses = HostSettings::addresses(&given("TWOLANE_HOST").unwrap_or_default()).map_err(|why| {
        Problem::usage("could not determine which machine TWOLANE_HOST means")
            .because(why)
            .help("write it like TWOLANE_HOST=user@machine:22")
    })?;
    Ok(HostSettings {
        addresses,
        ssh_config: given("TWOLANE_SSH_CONFIG").map(Utf8PathBuf::from),
    })
}

/// Returns the programs of `local`, with the QEMU that `[local] qemu` names; its own `qemu-img` where it lies beside.
fn programs(qemu: Option<&str>) -> Programs {
    let usual = Programs::default();
    let Some(qemu) = qemu else { return usual };
    let beside = Utf8Path::new(qemu).with_file_name("qemu-img");
    Programs {
        qemu: qemu.to_owned(),
        qemu_img: Some(beside.into_string())
            .filter(|path| Utf8Path::new(path).is_file())
            .unwrap_or(usual.qemu_img),
        ..Programs::default()
    }
}

/// Reads `image` of `[local]`: a release such as `debian-13`, or the address and the checksum of a disk image.
fn image(given: Option<&str>) -> Result<Image> {
    let Some(given) = given else {
        return Ok(Image::default());
    };
    if let Some(release) = Release::ALL.into_iter().find(|release| release.word() == given) {
        return Ok(Image::Made(release));
    }
    match given.rsplit_once(":sha256:") {
        Some((url, sha256)) => Ok(Image::Cloud {
            url: url.to_owned(),
            sha256: sha256.to_owned(),
        }),
        None => Err(
            Problem::usage(format!("could not use the image `{given}` of [local]"))
                .because(format!(
                    "it is neither {} nor an address with its checksum",
                    Release::ALL.map(Release::word).join(", ")
                ))
                .help("write image = \"debian-13\", or image = \"https://HOST/PATH.img:sha256:CHECKSUM\""),
        ),
    }
}

/// Opens the journal.
pub(crate) fn journal(paths: &Paths) -> Result<Arc<journal::Journal>> {
    paths.secure()?;
    Ok(Arc::new(journal::Journal::open(&paths.state, Arc::new(Clock))?))
}

/// A world, and those who watch what happens in it.
pub(crate) struct Watched {
    /// The world.
    pub(crate) world: World,
    /// What happened so far.
    pub(crate) report: Arc<Kept>,
    /// Which boxes may stand.
    pub(crate) standing: Arc<Standing>,
    terminal: Arc<Terminal>,
    json: Option<Arc<Json>>,
}

/// Returns what looks up how long the checks of a project usually take.
fn usual(paths: &Paths) -> Usual {
    let paths = paths.clone();
    Box::new(move |project| past::usual(&paths, project))
}

/// Keeps a report of what happened so far.
pub(crate) struct Kept(Mutex<Report>);

impl Kept {
    /// Returns the report so far.
    pub(crate) fn report(&self) -> Report {
        self.0.lock().clone()
    }
}

impl Events for Kept {
    fn emit(&self, record: EventRecord) {
        self.0.lock().take(&record);
    }
}

/// Results, put on this machine's disk.
struct ThisDisk;

#[async_trait]
impl Files for ThisDisk {
    async fn write(&self, path: &Utf8Path, bytes: &[u8]) -> std::result::Result<(), String> {
        let (to, bytes) = (path.to_owned(), bytes.to_vec());
        let written = tokio::task::spawn_blocking(move || write_whole(&to, &bytes)).await;
        written
            .map_err(|error| error.to_string())?
            .map_err(|error| format!("could not write {path}: {error}"))
    }
}

/// What several runs of one command share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Which boxes may stand.
    standing: Arc<Standing>,
    /// Whether the user wants to stop.
    pub(crate) stop: Arc<dyn Stop>,
    builder: Arc<CargoBuilder>,
}

impl Shared {
    /// Returns the same with somebody else who may ask to stop.
    pub(crate) fn stopped_by(&self, stop: Arc<dyn Stop>) -> Self {
        Self {
            stop: Arc::new(FirstOf(self.stop.clone(), stop)),
            ..self.clone()
        }
    }

    /// Begins to listen for signals. Must be called on a runtime.
    pub(crate) fn open(context: &Context, paths: &Paths) -> Result<Self> {
        let standing = Arc::new(Standing::default());
        let stop = Signals::listen(standing.clone(), context.style)
            .map_err(|error| Problem::infrastructure("could not listen for signals").because(error))?;
        Ok(Self {
            standing,
            stop: Arc::new(stop),
            builder: Arc::new(CargoBuilder::new(paths.cache.clone())),
        })
    }
}

impl Watched {
    /// Opens the world for a command. Must be called on a runtime. What happens is recorded where a
    /// directory is given; `before` happened earlier.
    pub(crate) fn open(
        context: &Context,
        paths: &Paths,
        settings: &config::Local,
        run_dir: Option<&Utf8Path>,
        before: Report,
    ) -> Result<Self> {
        let shared = Shared::open(context, paths)?;
        Self::beside(shared, context, (paths, settings), (run_dir, before))
    }

    /// Opens the world for one run of a command.
    pub(crate) fn beside(
        shared: Shared,
        context: &Context,
        (paths, settings): (&Paths, &config::Local),
        (run_dir, before): (Option<&Utf8Path>, Report),
    ) -> Result<Self> {
        let Shared {
            standing,
            stop,
            builder,
        } = shared;
        let journal = journal(paths)?;
        let providers = usable(&providers(paths, settings)?);
        let report = Arc::new(Kept(Mutex::new(before)));
        let mut readers: Vec<Arc<dyn Events>> = vec![standing.clone(), report.clone()];
        if let Some(dir) = run_dir {
            let record = Record::open(dir, context.style).map_err(|error| cannot_write(dir, &error))?;
            readers.push(Arc::new(record));
        }
        let json = context
            .style
            .is_json
            .then(|| Arc::new(Json::start(context.style)));
        if let Some(json) = &json {
            readers.push(json.clone());
        }
        let watching = Style {
            is_quiet: context.style.is_quiet || context.style.is_json,
            ..context.style
        };
        let shown_dir = run_dir.map_or_else(|| paths.runs(), Utf8PathBuf::from);
        let terminal = Arc::new(Terminal::start(watching, &shown_dir));
        readers.push(terminal.clone());
        let world = World {
            providers,
            remote: Arc::new(remote::Ssh::new(paths.state.clone())),
            journal,
            clock: Arc::new(Clock),
            events: Arc::new(Counted::new(Arc::new(Fan(readers)), usual(paths))),
            stop,
            files: Arc::new(ThisDisk),
            builder,
            runs: paths.runs(),
            environment: operator_environment(),
        };
        Ok(Self {
            world,
            report,
            standing,
            terminal,
            json,
        })
    }

    /// Returns what writes events as JSON, if they are written so.
    pub(crate) fn json(&self) -> Option<Arc<dyn Events>> {
        let json = self.json.clone();
        json.map(|json| json as Arc<dyn Events>)
    }

    /// Returns a report that is kept of other events than these.
    pub(crate) fn kept(report: Report) -> Arc<Kept> {
        Arc::new(Kept(Mutex::new(report)))
    }

    /// Waits until all has been shown.
    pub(crate) fn finish(&self) {
        self.terminal.finish();
        if let Some(json) = &self.json {
            json.finish();
        }
    }
}

/// Returns the variables of this process that are text. Checks get what they name of them.
pub(crate) fn operator_environment() -> BTreeMap<String, String> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// A run's directory cannot be written.
pub(crate) fn cannot_write(dir: &Utf8Path, error: &std::io::Error) -> Problem {
    Problem::usage(format!("could not write to the run's directory {dir}"))
        .because(error)
        .help("make it writable, or choose another place: --state-dir DIR")
}
