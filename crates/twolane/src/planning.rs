//! What was asked, and what has to be known of this machine, made into a plan.

use std::collections::BTreeSet;

use camino::Utf8Path;
use model::{
    candidate::Candidate,
    config::{self, Boxes, Config, RustFrom},
    error::ProviderError,
    host::Address,
    lane::KvmNeed,
    name::{ProviderName, RunId},
    part::Past,
    plan::{self, Asked, Defaults, Facts, Judge, Offer, Plan, PlanMistake, Refused},
    price::Price,
    time::Timestamp,
    world::Clock as _,
};

use crate::{
    adapters::{self, is_adapter},
    args::{BoxArgs, RunArgs},
    certificates,
    clock::Clock,
    known::{KnownProvider, Providers},
    offers, owner, past,
    paths::{Paths, read_some},
    prebuilt,
    problem::{Problem, Result},
    project::Project,
    toolchain,
    world::operator_environment,
};

/// A plan, and who was rejected before it began.
pub(crate) struct Planned {
    /// The plan.
    pub(crate) plan: Plan,
    /// Candidates that cannot serve their lane, or are too dear.
    pub(crate) refused: Vec<Refused>,
    /// What people should know.
    pub(crate) notes: Vec<String>,
    /// Why it is not to be carried out: a lane has no candidate left.
    pub(crate) problem: Option<Problem>,
}

impl Planned {
    /// Returns who may serve a lane, and who was rejected.
    pub(crate) fn candidates(&self) -> Vec<&Candidate> {
        let lanes = self.plan.lanes.iter().flat_map(|lane| &lane.candidates);
        lanes
            .chain(self.refused.iter().map(|refused| &refused.candidate))
            .collect()
    }

    /// Returns the plan where it is to be carried out.
    pub(crate) fn able(self) -> Result<Self> {
        match self.problem {
            Some(problem) => Err(problem),
            None => Ok(self),
        }
    }
}

/// How closely this machine is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// No program is run: what the plan does not show is left out of it.
    Quick,
    /// As a run needs it.
    Whole,
}

/// Returns why a provider can give no such box, as far as that is known without a call.
fn unable(candidate: &Candidate, need: KvmNeed, providers: &Providers) -> Option<ProviderError> {
    let known = providers.get(&candidate.provider)?;
    // What no credentials would change is said first.
    known
        .provider
        .refuse(&candidate.instance_type, need)
        .or_else(|| known.missing.clone())
}

/// Returns what the flags of `run` and `plan` ask for.
pub(crate) fn asked(args: &RunArgs) -> Result<Asked> {
    Ok(Asked {
        lanes: args.lanes.clone(),
        keep: args.keep.clone(),
        is_continued: args.is_continued,
        is_shared: true,
        boxes: args.count.clone(),
        ..asked_of_boxes(&args.boxes)?
    })
}

/// Returns what the flags about boxes ask for.
pub(crate) fn asked_of_boxes(args: &BoxArgs) -> Result<Asked> {
    // A variable that is set to nothing asks for nothing.
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    let (mut provider, mut region) = (given(&args.provider), given(&args.region));
    if let Some(host) = given(&args.host) {
        (provider, region) = (
            Some(::providers::host::NAME.to_owned()),
            Some(host_address(&host)?),
        );
    }
    if args.as_user {
        return Err(Problem::usage("could not do without root")
            .because("each check has a user and a unit of its own, which only root can give")
            .help("name a login that is root or may use `sudo` without a password: --host user@machine"));
    }
    Ok(Asked {
        provider,
        region,
        instance_type: given(&args.instance_type),
        disk: given(&args.disk),
        ttl: args.ttl.clone(),
        allow: args
            .allow_cidr
            .iter()
            .map(|range| range.trim().to_owned())
            .filter(|range| !range.is_empty())
            .collect(),
        max_cost: args.max_cost.clone(),
        label: given(&args.label),
        operator_key: given(&args.ssh_pubkey).as_deref().map(public_key).transpose()?,
        ..Asked::default()
    })
}

/// Returns the address as the plan takes it.
fn host_address(given: &str) -> Result<String> {
    let address: Address = given.parse().map_err(|why| {
        Problem::usage("could not determine which machine is meant")
            .because(why)
            .help("write it like --host user@machine:22")
    })?;
    Ok(address.to_string())
}

/// Returns the key itself where the name of its file was given.
fn public_key(given: &str) -> Result<String> {
    let refuse = |why: String| {
        Problem::usage("could not read your public key")
            .because(why)
            .help("set TWOLANE_SSH_PUBKEY to the key or to its file, such as ~/.ssh/id_ed25519.pub")
    };
    let key = match given.contains(char::is_whitespace) {
        true => given.to_owned(),
        false => read_some(Utf8Path::new(given)).map_err(|error| refuse(format!("{given}: {error}")))?,
    };
    // It must be shown nowhere, in an error least of all.
    if key.contains("PRIVATE KEY") {
        return Err(refuse("what was given is a private key".to_owned()));
    }
    Ok(key)
}

/// Makes the plan.
pub(crate) fn plan(
    project: &Project,
    asked: &Asked,
    providers: &Providers,
    paths: &Paths,
    look: Look,
) -> Result<Planned> {
    let wanted = adapters::wanted(&project.config, asked);
    adapters::check_wanted(&project.dir, &wanted, providers)?;
    let mut notes = Vec::new();
    let config = with_toolchain(project, look, &mut notes);
    let facts = Facts {
        offers: offers(project, providers, paths),
        past: past(project, asked, paths),
        ..facts(&config, (&project.dir, &paths.cache), &wanted, providers, look)?
    };
    let mut plan = plan::plan(&config, asked, &facts).map_err(|mistakes| cannot_plan(&mistakes))?;
    let judge = Judge {
        unable: &|candidate, need| unable(candidate, need, providers),
        price: &|candidate| price(candidate, providers),
    };
    let (refused, mistakes) = plan::refuse(&mut plan, &judge);
    if look == Look::Quick {
        plan.toolchain = None;
    }
    notes.append(&mut plan.notes);
    Ok(Planned {
        plan,
        refused,
        notes,
        problem: (!mistakes.is_empty()).then(|| cannot_plan(&mistakes)),
    })
}

/// Returns what is known of the price of a candidate.
pub(crate) fn price(candidate: &Candidate, providers: &Providers) -> Price {
    let known = providers.get(&candidate.provider);
    known.map_or(Price::Unknown, |known| {
        plan::price_of(candidate, &*known.provider)
    })
}

/// Returns what could be had, for lanes that take the cheapest. The runs of this machine are read for it.
fn offers(project: &Project, providers: &Providers, paths: &Paths) -> Vec<Offer> {
    let is_asked = project
        .config
        .lanes
        .iter()
        .any(|lane| lane.boxes == Boxes::Cheapest);
    let is_usable = |name: &ProviderName| providers.get(name).is_some_and(|known| known.missing.is_none());
    match is_asked {
        true => offers::offers(paths, providers, &is_usable),
        false => Vec::new(),
    }
}

/// Returns what earlier runs say of lanes that are shared over several boxes. The runs of this machine are read for it.
fn past(project: &Project, asked: &Asked, paths: &Paths) -> Past {
    let is_shared = |lane: &&config::Lane| asked.boxes.is_some() || lane.boxes_at_once > 1;
    let lanes: Vec<&str> = project
        .config
        .lanes
        .iter()
        .filter(is_shared)
        .map(|lane| lane.name.as_str())
        .collect();
    match asked.is_shared && !lanes.is_empty() {
        true => past::read(paths, &project.config.project, &lanes),
        false => Past::new(),
    }
}

/// Returns the configuration with a toolchain that can be had: a version that this machine lacks comes from rustup.
fn with_toolchain(project: &Project, look: Look, notes: &mut Vec<String>) -> Config {
    let mut config = project.config.clone();
    let Some(rust) = config.system.rust.as_mut() else {
        return config;
    };
    let is_pinned = toolchain::is_pinned(&rust.toolchain) || !rust.targets.is_empty();
    if look == Look::Quick || rust.from != RustFrom::Operator || !is_pinned {
        return config;
    }
    if let Err(problem) = toolchain::find(&project.dir, rust) {
        let why = problem.because.first().unwrap_or(&problem.error);
        let help = problem.help.as_deref().unwrap_or_default();
        notes.push(format!(
            "boxes get Rust {} from rustup: {why} ({help})",
            rust.toolchain
        ));
        rust.from = RustFrom::Rustup(config::rustup());
    }
    config
}

fn facts(
    config: &Config,
    (dir, cache): (&Utf8Path, &Utf8Path),
    wanted: &[&str],
    providers: &Providers,
    look: Look,
) -> Result<Facts> {
    let missing: BTreeSet<_> = config
        .sources
        .iter()
        .map(|source| source.path.clone())
        .filter(|path| !dir.join(path).is_dir())
        .collect();
    let first = config.sources.first();
    let rust = config
        .system
        .rust
        .as_ref()
        .filter(|rust| rust.from == RustFrom::Operator);
    let toolchain = match (look, rust) {
        (_, None) => None,
        _ if !toolchain::is_there() => None,
        (Look::Whole, Some(rust)) => {
            let found = toolchain::find(dir, rust)?;
            Some(toolchain::with_programs(found, prebuilt::cached(cache)))
        }
        (Look::Quick, Some(_)) => Some(toolchain::unseen()),
    };
    let defaults = |known: &KnownProvider| {
        let (instance_type, region) = known.provider.default_choice();
        Defaults {
            instance_type: instance_type.to_owned(),
            region: region.to_owned(),
            fallbacks: known.provider.choices().iter().skip(1).cloned().collect(),
            takes: known.provider.profile().takes,
            is_cloud: known.provider.profile().has_own_network,
        }
    };
    Ok(Facts {
        run: RunId::generate(Timestamp::now(), Clock.random()),
        random: Clock.random(),
        dir: dir.to_owned(),
        missing,
        lacks_manifest: first.is_some_and(|source| !dir.join(&source.path).join("Cargo.toml").is_file()),
        // An adapter is read only where it is asked for.
        providers: providers
            .iter()
            .filter(|(name, _)| !is_adapter(name) || wanted.contains(&name.as_str()))
            .map(|(name, known)| (name.clone(), defaults(known)))
            .collect(),
        offers: Vec::new(),
        past: Past::new(),
        owner: match look {
            Look::Whole => owner::find(dir),
            Look::Quick => owner::of_environment(),
        },
        revision: match look {
            Look::Whole => owner::revision(dir),
            Look::Quick => None,
        },
        toolchain,
        ca_certs: match &config.system.ca_certs {
            Some(path) => certificates::of_file(&dir.join(path))?,
            None => Vec::new(),
        },
        operator_ca_certs: match look {
            Look::Whole => certificates::operators(),
            Look::Quick => Vec::new(),
        },
        variables: operator_environment().into_keys().collect(),
    })
}

fn cannot_plan(mistakes: &[PlanMistake]) -> Problem {
    let mut problem = match mistakes {
        [one] => one
            .because
            .iter()
            .fold(Problem::usage(one.message.clone()), Problem::because),
        several => several.iter().fold(
            Problem::usage("what was asked for cannot be"),
            |problem, mistake| match mistake.because.is_empty() {
                true => problem.because(&mistake.message),
                false => problem.because(format!("{}: {}", mistake.message, mistake.because.join("; "))),
            },
        ),
    };
    let mut helps: Vec<&str> = mistakes
        .iter()
        .filter_map(|mistake| mistake.help.as_deref())
        .collect();
    helps.dedup();
    if !helps.is_empty() {
        problem.help = Some(helps.join("\n"));
    }
    problem
}
