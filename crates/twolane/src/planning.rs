//! What was asked, and what has to be known of this machine, made into a plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
};

use camino::Utf8Path;
use model::{
    candidate::Candidate,
    config::RustFrom,
    name::{ProviderName, RunId},
    plan::{self, Asked, Defaults, Facts, Plan, PlanMistake, Price, Refused},
    time::Timestamp,
    world::{Clock as _, Provider},
};

use crate::{
    args::{BoxArgs, RunArgs},
    clock::Clock,
    owner,
    problem::{Problem, Result},
    project::Project,
    toolchain,
};

/// A plan, and who fell away before it began.
pub(crate) struct Planned {
    /// The plan.
    pub(crate) plan: Plan,
    /// Candidates that are too dear.
    pub(crate) refused: Vec<Refused>,
}

/// How closely this machine is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// No program is run: what the plan does not show is left out of it.
    Quick,
    /// As a run needs it.
    Whole,
}

/// The providers, by name.
pub(crate) type Providers = BTreeMap<ProviderName, Arc<dyn Provider>>;

/// Returns what the flags of `run` and `plan` ask for.
pub(crate) fn asked(args: &RunArgs) -> Result<Asked> {
    Ok(Asked {
        lanes: args.lanes.clone(),
        keep: args.keep.clone(),
        is_continued: args.is_continued,
        ..asked_of_boxes(&args.boxes)?
    })
}

/// Returns what the flags about boxes ask for.
pub(crate) fn asked_of_boxes(args: &BoxArgs) -> Result<Asked> {
    // A variable that is set to nothing asks for nothing.
    let given = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
    Ok(Asked {
        provider: given(&args.provider),
        region: given(&args.region),
        instance_type: given(&args.instance_type),
        disk: given(&args.disk),
        ttl: args.ttl.clone(),
        label: given(&args.label),
        operator_key: given(&args.ssh_pubkey).as_deref().map(public_key).transpose()?,
        ..Asked::default()
    })
}

/// Returns the key itself where the name of its file was given.
fn public_key(given: &str) -> Result<String> {
    if given.contains(char::is_whitespace) {
        return Ok(given.to_owned());
    }
    fs::read_to_string(given).map_err(|error| {
        Problem::usage("could not read your public key")
            .because(format!("{given}: {error}"))
            .help("set SSH_PUBKEY to the key or to its file, such as ~/.ssh/id_ed25519.pub")
    })
}

/// Makes the plan.
pub(crate) fn plan(project: &Project, asked: &Asked, providers: &Providers, look: Look) -> Result<Planned> {
    let facts = facts(project, providers, look)?;
    let mut plan = plan::plan(&project.config, asked, &facts).map_err(|mistakes| cannot_plan(&mistakes))?;
    let price = |candidate: &Candidate| price(candidate, providers);
    let refused = plan::refuse_dear(&mut plan, &price).map_err(|mistakes| cannot_plan(&mistakes))?;
    if look == Look::Quick {
        plan.toolchain = None;
    }
    Ok(Planned { plan, refused })
}

/// Returns what is known of the price of a candidate.
pub(crate) fn price(candidate: &Candidate, providers: &Providers) -> Price {
    if candidate.provider.as_str() == ::providers::local::NAME {
        // This machine is there anyway.
        return Price::Free;
    }
    let prices = providers
        .get(&candidate.provider)
        .and_then(|provider| provider.prices());
    match prices.and_then(|prices| prices.hourly(&candidate.instance_type, &candidate.region)) {
        Some((amount, _)) if amount.micros == 0 => Price::Free,
        Some((amount, day)) => Price::Hourly { amount, day },
        None => Price::Unknown,
    }
}

fn facts(project: &Project, providers: &Providers, look: Look) -> Result<Facts> {
    let config = &project.config;
    let dir = &project.dir;
    let missing: BTreeSet<_> = config
        .sources
        .iter()
        .map(|source| source.path.clone())
        .filter(|path| !dir.join(path).is_dir())
        .collect();
    let is_operators = config
        .system
        .rust
        .as_ref()
        .is_some_and(|rust| rust.from == RustFrom::Operator);
    let toolchain = match look {
        _ if !is_operators || !toolchain::is_there() => None,
        Look::Whole => Some(toolchain::find(dir)?),
        Look::Quick => Some(toolchain::unseen()),
    };
    let defaults = |provider: &Arc<dyn Provider>| Defaults {
        instance_type: provider.default_instance_type().to_owned(),
        region: provider.default_region().to_owned(),
    };
    Ok(Facts {
        run: RunId::generate(Timestamp::now(), Clock.random()),
        random: Clock.random(),
        dir: dir.clone(),
        missing,
        providers: providers
            .iter()
            .map(|(name, provider)| (name.clone(), defaults(provider)))
            .collect(),
        offers: Vec::new(),
        owner: match look {
            Look::Whole => owner::find(dir),
            Look::Quick => owner::of_environment(),
        },
        toolchain,
        ca_certs: match &config.system.ca_certs {
            Some(path) => certificates(&dir.join(path))?,
            None => Vec::new(),
        },
    })
}

/// Returns each certificate of a PEM file.
fn certificates(path: &Utf8Path) -> Result<Vec<String>> {
    const END: &str = "-----END CERTIFICATE-----";
    let problem = || Problem::usage(format!("could not read the certificates in {path}"));
    let text = fs::read_to_string(path).map_err(|error| problem().because(error))?;
    let certificates: Vec<String> = text
        .split_inclusive(END)
        .filter_map(|part| Some(part[part.find("-----BEGIN CERTIFICATE-----")?..].to_owned()))
        .filter(|certificate| certificate.ends_with(END))
        .map(|certificate| certificate + "\n")
        .collect();
    if certificates.is_empty() {
        return Err(problem()
            .because("it holds no certificate in PEM form")
            .help("name another file in `ca-certs` of [system]"));
    }
    Ok(certificates)
}

fn cannot_plan(mistakes: &[PlanMistake]) -> Problem {
    let mut problem = match mistakes {
        [one] => Problem::usage(one.message.clone()),
        several => several.iter().fold(
            Problem::usage("what was asked for cannot be"),
            |problem, mistake| problem.because(&mistake.message),
        ),
    };
    let helps: Vec<&str> = mistakes
        .iter()
        .filter_map(|mistake| mistake.help.as_deref())
        .collect();
    if !helps.is_empty() {
        problem.help = Some(helps.join("\n"));
    }
    problem
}
