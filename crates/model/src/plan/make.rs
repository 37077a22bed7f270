//! Folds what was asked over the configuration. What was asked on the command line counts most, then the environment
//! (the two come as one [`Asked`]), then `twolane.toml`, then the defaults of presets and providers.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};

use super::{
    Keep, LanePlan, Plan,
    allow::range,
    asked::{Asked, Facts, PlanMistake},
    share::share,
};
use crate::{
    check::Check,
    config::{self, Config, Lane, RustFrom, nearest, suggest},
    host::Address,
    money::Money,
    name::{Label, ProviderName},
    options::Options,
    order::OperatorToolchain,
    part::BOXES_MAX,
    source::Source,
    time::parse_length,
};

/// Makes the plan, or reports every mistake.
pub fn plan(config: &Config, asked: &Asked, facts: &Facts) -> Result<Plan, Vec<PlanMistake>> {
    let mut planner = Planner {
        config,
        asked,
        facts,
        mistakes: Vec::new(),
    };
    let plan = planner.plan();
    if planner.mistakes.is_empty() {
        Ok(plan)
    } else {
        Err(planner.mistakes)
    }
}

pub(super) struct Planner<'a> {
    config: &'a Config,
    asked: &'a Asked,
    pub(super) facts: &'a Facts,
    mistakes: Vec<PlanMistake>,
}

/// The flags that change every lane, as meant.
pub(super) struct Overrides {
    pub(super) provider: Option<ProviderName>,
    pub(super) region: Option<String>,
    pub(super) instance_type: Option<String>,
    pub(super) disk_gb: Option<u32>,
    ttl: Option<Duration>,
}

impl Planner<'_> {
    pub(super) fn refuse(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.mistakes.push(PlanMistake {
            message: message.into(),
            because: Vec::new(),
            help: Some(help.into()),
        });
    }

    /// Takes a value, or notes why it is wrong.
    fn accept<T>(&mut self, flag: &str, read: Result<T, String>, example: &str) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(why) => {
                self.refuse(
                    format!("{flag}: {why}"),
                    format!("write it like `{flag} {example}`"),
                );
                None
            }
        }
    }

    fn plan(&mut self) -> Plan {
        let sources = self.sources();
        let lanes = self.lanes();
        self.require_manifest(&lanes);
        let overrides = self.overrides();
        let label = self.label(&lanes);
        let (lanes, notes) = self.shared(&lanes, &label, &overrides);
        let allow = self.allow(&lanes);
        Plan {
            run: self.facts.run.clone(),
            project: self.config.project.clone(),
            sources,
            system: self.config.system.clone(),
            toolchain: self.toolchain(),
            ca_certs: self.facts.ca_certs.clone(),
            operator_ca_certs: self.facts.operator_ca_certs.clone(),
            deploy: self.config.deploy.clone(),
            lanes,
            owner: self.facts.owner.clone(),
            revision: self.facts.revision.clone(),
            allow,
            operator_key: self.operator_key(),
            keep: self.keep(),
            is_continued: self.asked.is_continued,
            max_cost: self.max_cost(),
            limits: self.config.limits,
            notes,
        }
    }

    fn sources(&mut self) -> Vec<Source> {
        let (dir, config) = (&self.facts.dir, self.config);
        for source in &config.sources {
            if self.facts.missing.contains(&source.path) {
                self.refuse(
                    format!(
                        "source `{}`: there is no directory {}",
                        source.name,
                        dir.join(&source.path)
                    ),
                    "correct its `path` in [sources], which starts at the directory of twolane.toml",
                );
            }
        }
        let source = |source: &config::SourceDir| Source {
            name: source.name.clone(),
            user: config.system.user.clone(),
            path: normal(&dir.join(&source.path)),
        };
        config.sources.iter().map(source).collect()
    }

    fn lanes(&mut self) -> Vec<Lane> {
        let config = self.config;
        for name in &self.asked.lanes {
            if !config.lanes.iter().any(|lane| lane.name == *name) {
                let names = config.lanes.iter().map(|lane| lane.name.as_str());
                self.refuse(format!("there is no lane `{name}`"), suggest(name, names));
            }
        }
        let is_asked = |lane: &&Lane| self.asked.lanes.is_empty() || self.asked.lanes.contains(&lane.name);
        config.lanes.iter().filter(is_asked).cloned().collect()
    }

    fn overrides(&mut self) -> Overrides {
        let asked = self.asked;
        let provider = asked.provider.as_deref();
        let mut word = |flag, text: &Option<String>, example| {
            let read = config::provider_word(text.as_deref()?);
            self.accept(flag, read, example)
        };
        let region = match asked.region.as_deref().map(str::parse::<Address>) {
            // Only an address has these characters.
            Some(Ok(address)) if address.to_string().contains(['@', '[']) => Some(address.to_string()),
            _ => word("--region", &asked.region, "us-east-1"),
        };
        let instance_type = word("--instance-type", &asked.instance_type, "c8i.xlarge");
        let disk = asked.disk.as_deref().map(|text| {
            let number = text.trim_end_matches(['G', 'g', 'B', 'b', 'i']).parse().ok();
            number
                .filter(|gib| (4..=65_536).contains(gib))
                .ok_or_else(|| format!("`{text}` is not a size in GiB from 4 on"))
        });
        let ttl = asked.ttl.as_deref().map(config::ttl);
        Overrides {
            provider: provider.and_then(|name| self.provider("--provider: ", name)),
            region,
            instance_type,
            disk_gb: disk.and_then(|read| self.accept("--disk", read, "40")),
            ttl: ttl.and_then(|read| self.accept("--ttl", read, "2h")),
        }
    }

    /// Finds a provider that can be used.
    pub(super) fn provider(&mut self, wanted_by: &str, name: &str) -> Option<ProviderName> {
        let facts = self.facts;
        if let Some(known) = facts.providers.keys().find(|known| known.as_str() == name) {
            return Some(known.clone());
        }
        let usable = facts.providers.keys().map(ProviderName::as_str);
        let help = match nearest(name, usable.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("usable here: {}", usable.collect::<Vec<_>>().join(", ")),
        };
        self.refuse(format!("{wanted_by}there is no provider `{name}` to use"), help);
        None
    }

    /// Reads the label that was asked for. It can only name one box.
    fn label(&mut self, lanes: &[Lane]) -> Option<Label> {
        let asked = self.asked.label.as_deref()?;
        if lanes.len() > 1 {
            let names: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
            self.refuse(
                format!(
                    "the label `{asked}` was given for {} lanes, and every box needs its own",
                    lanes.len()
                ),
                format!("name one lane ({}), or leave the label out", names.join(", ")),
            );
        }
        let read = Label::new(asked).map_err(|error| error.to_string());
        self.accept("--label", read, "mvm-live-1")
    }

    /// Returns the lanes, those that are shared over several boxes as one for each of them; and what people should know.
    fn shared(
        &mut self,
        lanes: &[Lane],
        given: &Option<Label>,
        overrides: &Overrides,
    ) -> (Vec<LanePlan>, Vec<String>) {
        let boxes = self.boxes();
        let (config, facts) = (self.config, self.facts);
        let mut random = facts.random;
        let mut label = |name: &str| {
            let label = Label::generate(&config.project, name, random);
            random = random.wrapping_add(1);
            label
        };
        let (mut planned, mut notes) = (Vec::new(), Vec::new());
        for lane in lanes {
            let count = match self.asked.is_shared {
                true => boxes.unwrap_or(lane.boxes_at_once),
                false => 1,
            };
            let own = given.clone().unwrap_or_else(|| label(&lane.name));
            let plan = self.lane(lane, own, overrides);
            if count == 1 {
                planned.push(plan);
                continue;
            }
            let (shared, said) = share(plan, count, &facts.past, &mut label);
            if let (Some(given), true) = (given, shared.len() > 1) {
                self.refuse(
                    format!(
                        "the label `{given}` was given for the {} boxes of lane {}, and every box needs its own",
                        shared.len(),
                        lane.name
                    ),
                    "leave the label out, or write --boxes 1",
                );
            }
            planned.extend(shared);
            notes.extend(said);
        }
        (planned, notes)
    }

    /// Reads over how many boxes each lane is shared.
    fn boxes(&mut self) -> Option<u32> {
        let text = self.asked.boxes.as_deref()?;
        let number = text
            .parse()
            .ok()
            .filter(|number| (1..=BOXES_MAX).contains(number));
        let read = number.ok_or_else(|| format!("`{text}` is not a number from 1 to {BOXES_MAX}"));
        self.accept("--boxes", read, "4")
    }

    fn lane(&mut self, lane: &Lane, label: Label, overrides: &Overrides) -> LanePlan {
        let ttl = overrides.ttl.unwrap_or(lane.ttl);
        LanePlan {
            name: lane.name.clone(),
            label,
            need: lane.kvm,
            candidates: self.candidates(lane, overrides),
            ttl,
            max_cost: lane.max_cost.clone(),
            has_deploy: lane.deploy,
            checks: self.checks(lane),
            build: lane.build,
            is_continued: lane.is_continued,
            fail_on_skip: lane.fail_on_skip,
            supersede: lane.supersede,
            share: None,
        }
    }

    /// Refuses what cargo would refuse on the box, minutes later.
    fn require_manifest(&mut self, lanes: &[Lane]) {
        let is_cargos = |check: &&Check| {
            let words: Vec<&str> = check.run.split_whitespace().take(2).collect();
            matches!(
                words[..],
                [
                    "cargo",
                    "test" | "build" | "check" | "clippy" | "fmt" | "nextest" | "deny" | "audit"
                ]
            ) && !check.run.contains("--manifest-path")
        };
        let mut checks = lanes.iter().flat_map(|lane| &lane.checks);
        let source = self
            .config
            .sources
            .first()
            .filter(|source| !self.facts.missing.contains(&source.path));
        if let (true, Some(source), Some(check)) = (self.facts.lacks_manifest, source, checks.find(is_cargos))
        {
            self.refuse(
                format!(
                    "source `{}` has no Cargo.toml in {}, and check `{}` runs cargo there",
                    source.name,
                    normal(&self.facts.dir.join(&source.path)),
                    check.name
                ),
                "correct its `path` in [sources], or let the check change into the right directory first",
            );
        }
    }

    fn checks(&mut self, lane: &Lane) -> Vec<Check> {
        let is_set = |name: &&String| self.facts.variables.contains(*name);
        for check in &lane.checks {
            let unset: Vec<&str> = check
                .env_from
                .iter()
                .filter(|name| !is_set(name))
                .map(String::as_str)
                .collect();
            if !unset.is_empty() {
                self.refuse(
                    format!(
                        "check `{}` needs {} from this machine's environment",
                        check.name,
                        unset.join(", ")
                    ),
                    "set it, or take it out of `env-from`",
                );
            }
        }
        let trace = self.config.is_traced(lane);
        let checks = lane.checks.iter().cloned();
        let traced = |check: Check| Check {
            trace: trace && !check.is_setup,
            ..check
        };
        checks.map(traced).collect()
    }

    fn toolchain(&mut self) -> Option<OperatorToolchain> {
        let rust = self.config.system.rust.as_ref()?;
        if rust.from != RustFrom::Operator {
            return None;
        }
        if self.facts.toolchain.is_none() {
            self.refuse(
                "this machine has no Rust toolchain to copy, as `from = \"operator\"` in [system] asks",
                "install one here, or write `from = \"rustup\"`",
            );
        }
        self.facts.toolchain.clone()
    }

    fn allow(&mut self, lanes: &[LanePlan]) -> Vec<String> {
        let asked = self.asked;
        let candidates = lanes.iter().flat_map(|lane| &lane.candidates);
        let unreachable = |options: &Options| options.private && options.security_group.is_none();
        let mut unreachable = candidates.filter(|candidate| unreachable(&candidate.options));
        if let Some(candidate) = unreachable.next().filter(|_| asked.allow.is_empty()) {
            self.refuse(
                format!("{candidate}: who reaches a private address is seen there by another address than this machine's public one"),
                "name it: --allow-cidr RANGE, or TWOLANE_ALLOW_CIDR, with the private address of `jump`, or the range of your VPN",
            );
        }
        let mut allow = Vec::new();
        for text in &asked.allow {
            allow.extend(self.accept("--allow-cidr", range(text), "203.0.113.7/32"));
        }
        allow
    }

    fn operator_key(&mut self) -> Option<String> {
        let asked = self.asked;
        let key = asked.operator_key.as_deref()?.trim();
        let parts: Vec<&str> = key.split_whitespace().collect();
        let is_key = parts.len() >= 2 && !key.contains(['\n', '\r', '"']) && {
            ["ssh-", "ecdsa-", "sk-"]
                .iter()
                .any(|kind| parts[0].starts_with(kind))
        };
        if !is_key {
            self.refuse(
                "TWOLANE_SSH_PUBKEY does not hold one public key in OpenSSH's form",
                "set it to the contents of a file such as ~/.ssh/id_ed25519.pub",
            );
            return None;
        }
        Some(key.to_owned())
    }

    fn max_cost(&mut self) -> Vec<Money> {
        let Some(text) = self.asked.max_cost.as_deref() else {
            return Vec::new();
        };
        let read = Money::parse_limits(text).ok_or_else(|| format!("`{text}` is not an amount of money"));
        self.accept("--max-cost", read, "'5 USD' or '5 USD, 5 EUR'")
            .unwrap_or_default()
    }

    fn keep(&mut self) -> Keep {
        let Some(text) = self.asked.keep.clone() else {
            return Keep::Never;
        };
        let read = parse_length(&text).ok_or_else(|| format!("`{text}` is not a length of time"));
        let read = self.accept("--keep", read, "30m");
        read.map_or(Keep::Never, Keep::Failed)
    }
}

/// Takes `.` and `..` out of an absolute path without asking the file system.
fn normal(path: &Utf8Path) -> Utf8PathBuf {
    let mut normal = Utf8PathBuf::new();
    for part in path.components() {
        match part.as_str() {
            "." => {}
            ".." => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}
