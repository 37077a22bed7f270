//! Where KVM really is: which instance types have a `/dev/kvm` that works, how that is known, and what an hour costs.
//! The table is compiled in; what this machine's own runs saw counts more. Keeps out: reading those runs.

mod table;

use std::collections::BTreeMap;

use model::{candidate::Candidate, lane::KvmNeed, money::Money, name::ProviderName, plan::Offer};
use serde::Serialize;

pub use self::table::{Row, rows};

/// What a box must have to be picked for being cheap: with less, a Rust workspace does not build.
const VCPUS_MIN: u32 = 2;

/// The same, in GiB.
const MEMORY_GB_MIN: u32 = 4;

/// How it is known whether an instance type has KVM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Knowledge {
    /// A run of ours had it, and the KVM gate said yes.
    Own,
    /// A run of ours had it, and the KVM gate said no.
    OwnNone,
    /// Somebody booted it, and KVM worked.
    Observed,
    /// The vendor says so, or it is a whole machine.
    Documented,
    /// Somebody booted it, and there was none.
    None,
    /// Nobody knows, or it differs from host to host.
    Unknown,
}

impl Knowledge {
    /// Returns whether a lane that needs KVM may count on it.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Own | Self::Observed | Self::Documented)
    }

    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Own => "seen by you",
            Self::OwnNone => "none, seen by you",
            Self::Observed => "observed",
            Self::Documented => "documented",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// What the KVM gate of a run of ours answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Who provisioned the box.
    pub provider: String,
    /// Its size.
    pub instance_type: String,
    /// Where it was.
    pub region: String,
    /// Whether its KVM worked.
    pub works: bool,
    /// Whether the box was bare metal.
    pub is_metal: bool,
    /// Its architecture, where the gate could read it.
    pub arch: Option<String>,
    /// The day, such as `2026-11-23`.
    pub day: String,
    /// The run.
    pub run: String,
}

/// What is known of one instance type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Who gives it.
    pub provider: String,
    /// The provider's word for the size.
    pub instance_type: String,
    /// Where the price holds; the first is the one to take.
    pub regions: Vec<String>,
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// How many CPUs it has.
    pub vcpus: Option<u32>,
    /// Its memory.
    pub memory_gb: Option<u32>,
    /// What its KVM is, where it has one: nested or on hardware.
    pub kind: KvmNeed,
    /// What an hour costs.
    pub hourly: Option<Money>,
    /// The day on which the price was true, as closely as it is known.
    pub price_day: Option<String>,
    /// How its KVM is known.
    pub kvm: Knowledge,
    /// The day on which that was so, as closely as it is known.
    pub kvm_day: Option<String>,
    /// Who says so.
    pub source: String,
}

impl Entry {
    fn of(row: &Row) -> Self {
        let owned = |text: &'static str| text.to_owned();
        Self {
            provider: owned(row.provider),
            instance_type: owned(row.instance_type),
            regions: row.regions.iter().map(|region| owned(region)).collect(),
            arch: owned(row.arch),
            vcpus: row.vcpus,
            memory_gb: row.memory_gb,
            kind: row.kind,
            hourly: row.price.clone(),
            price_day: row.price_day.map(owned),
            kvm: row.kvm,
            kvm_day: row.kvm_day.map(owned),
            source: owned(row.source),
        }
    }

    /// Returns what nothing is known of but what a run saw.
    fn seen(observation: &Observation) -> Self {
        Self {
            provider: observation.provider.clone(),
            instance_type: observation.instance_type.clone(),
            regions: vec![observation.region.clone()],
            arch: String::new(),
            vcpus: None,
            memory_gb: None,
            kind: KvmNeed::Nested,
            hourly: None,
            price_day: None,
            kvm: Knowledge::Unknown,
            kvm_day: None,
            source: String::new(),
        }
    }

    /// Takes what a run saw for what is so.
    pub fn take(&mut self, observation: &Observation) {
        self.kvm = match observation.works {
            true => Knowledge::Own,
            false => Knowledge::OwnNone,
        };
        self.kind = match observation.is_metal {
            true => KvmNeed::Metal,
            false => KvmNeed::Nested,
        };
        if let Some(arch) = &observation.arch {
            self.arch.clone_from(arch);
        }
        self.kvm_day = Some(observation.day.clone());
        self.source = format!("run {}", observation.run);
    }

    /// Returns what could be had of it for `boxes = "cheapest"`: nothing while its price is not known, or with fewer than
    /// two CPUs or less than 4 GiB. A person may name a smaller one; nothing picks it.
    pub fn offers(&self) -> Vec<Offer> {
        let is_enough = self.vcpus.is_some_and(|vcpus| vcpus >= VCPUS_MIN)
            && self.memory_gb.is_some_and(|memory| memory >= MEMORY_GB_MIN);
        let (Some(hourly), Ok(provider), true) = (&self.hourly, ProviderName::new(&self.provider), is_enough)
        else {
            return Vec::new();
        };
        let kvm = if self.kvm.is_good() {
            self.kind
        } else {
            KvmNeed::None
        };
        let offer = |region: &String| Offer {
            candidate: Candidate {
                provider: provider.clone(),
                region: region.clone(),
                instance_type: self.instance_type.clone(),
                image: None,
                disk_gb: None,
                options: Box::default(),
            },
            hourly: hourly.clone(),
            kvm,
        };
        self.regions.iter().map(offer).collect()
    }
}

/// Returns what is known of every type: the table, and what runs of ours saw, which counts more. Of two runs the later
/// one counts: `observations` are oldest first.
pub fn known(observations: &[Observation]) -> Vec<Entry> {
    let mut entries: Vec<Entry> = rows().iter().map(Entry::of).collect();
    let mut last: BTreeMap<(&str, &str), &Observation> = BTreeMap::new();
    for observation in observations {
        let key = (observation.provider.as_str(), observation.instance_type.as_str());
        last.insert(key, observation);
    }
    for ((provider, instance_type), observation) in last {
        let is_it = |entry: &&mut Entry| entry.provider == provider && entry.instance_type == instance_type;
        match entries.iter_mut().find(is_it) {
            Some(entry) => entry.take(observation),
            None => {
                let mut entry = Entry::seen(observation);
                entry.take(observation);
                entries.push(entry);
            }
        }
    }
    entries
}

/// Returns the list price of an hour, and its day, where the table has it.
pub fn hourly(provider: &str, instance_type: &str, region: &str) -> Option<(Money, String)> {
    let is_it = |row: &&Row| {
        row.provider == provider && row.instance_type == instance_type && row.regions.contains(&region)
    };
    let row = rows().iter().find(is_it)?;
    Some((row.price.clone()?, row.price_day?.to_owned()))
}

/// Says in words what the table knows of the KVM of a type.
pub fn said_of(provider: &str, instance_type: &str) -> String {
    let is_it = |row: &&Row| row.provider == provider && row.instance_type == instance_type;
    let day = |row: &Row| row.kvm_day.map_or(String::new(), |day| format!(" on {day}"));
    match rows().iter().find(is_it) {
        Some(row) => match row.kvm {
            Knowledge::Observed => format!("seen to work{} ({}); the KVM gate decides", day(row), row.source),
            Knowledge::Documented => format!("documented ({}); the KVM gate decides", row.source),
            Knowledge::None => format!("there was none{} ({})", day(row), row.source),
            Knowledge::Own | Knowledge::OwnNone | Knowledge::Unknown => {
                format!("unknown whether {instance_type} has it; the KVM gate decides")
            }
        },
        None => format!("unknown whether {instance_type} has it; the KVM gate decides"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saw(instance_type: &str, works: bool, day: &str) -> Observation {
        Observation {
            provider: "ovh".to_owned(),
            instance_type: instance_type.to_owned(),
            region: "GRA11".to_owned(),
            works,
            is_metal: false,
            arch: Some("x86_64".to_owned()),
            day: day.to_owned(),
            run: "r1".to_owned(),
        }
    }

    fn offers(observations: &[Observation]) -> Vec<Offer> {
        known(observations).iter().flat_map(Entry::offers).collect()
    }

    fn entry(observations: &[Observation], instance_type: &str) -> Option<Entry> {
        known(observations)
            .into_iter()
            .find(|entry| entry.provider == "ovh" && entry.instance_type == instance_type)
    }

    #[test]
    fn what_a_run_saw_counts_more_than_the_table() {
        assert_eq!(entry(&[], "b3-8").unwrap().kvm, Knowledge::Observed);
        let none = [saw("b3-8", true, "2026-11-01"), saw("b3-8", false, "2026-11-02")];
        let entry = entry(&none, "b3-8").unwrap();
        assert_eq!(
            (entry.kvm, entry.kvm_day.as_deref()),
            (Knowledge::OwnNone, Some("2026-11-02"))
        );
        assert!(entry.hourly.is_some(), "the price stays");
        let offers = offers(&none);
        let of_it = offers
            .iter()
            .filter(|offer| offer.candidate.instance_type == "b3-8");
        assert!(of_it.clone().count() > 0);
        assert!(of_it.into_iter().all(|offer| offer.kvm == KvmNeed::None));
    }

    #[test]
    fn a_type_that_the_table_lacks_is_learned() {
        assert_eq!(entry(&[], "b9-1"), None);
        let learned = entry(&[saw("b9-1", true, "2026-11-01")], "b9-1").unwrap();
        assert_eq!((learned.kvm, learned.arch.as_str()), (Knowledge::Own, "x86_64"));
        assert_eq!(learned.source, "run r1");
    }

    #[test]
    fn nothing_too_small_is_picked_for_being_cheap() {
        assert!(entry(&[], "d2-2").unwrap().hourly.is_some());
        let offers = offers(&[]);
        assert!(offers.iter().all(|offer| offer.candidate.instance_type != "d2-2"));
        let regions: Vec<_> = offers
            .iter()
            .filter(|offer| offer.candidate.instance_type == "b3-16")
            .map(|offer| offer.candidate.region.as_str())
            .collect();
        assert_eq!(regions[0], "GRA11");
        assert!(regions.len() > 1);
    }

    #[test]
    fn a_price_is_that_of_its_regions() {
        let (amount, day) = hourly("ovh", "bm-s1", "GRA9").unwrap();
        assert_eq!((amount.to_string().as_str(), day.as_str()), ("0.50 EUR", "2026"));
        assert_eq!(hourly("ovh", "bm-s1", "GRA11"), None);
        assert_eq!(hourly("ovh", "b3-64", "GRA11"), None);
    }

    #[test]
    fn every_type_of_google_has_a_price() {
        let unpriced = rows()
            .iter()
            .filter(|row| row.provider == "gcp" && row.price.is_none());
        assert_eq!(unpriced.count(), 0);
    }

    /// Some adapters know prices of their own.
    #[test]
    fn every_provider_knows_the_prices_of_the_table() {
        let nothing = crate::Environment {
            variable: &|_| None,
            machine: None,
            log: None,
        };
        let mut agreed = 0;
        for cloud in crate::from_environment(&nothing) {
            let Some(prices) = cloud.api.prices() else {
                continue;
            };
            for row in rows().iter().filter(|row| row.provider == cloud.name.as_str()) {
                for region in row.regions.iter().filter(|_| row.price.is_some()) {
                    let own = prices.hourly(row.instance_type, region).map(|(own, _)| own);
                    assert_eq!(
                        own, row.price,
                        "{} {} in {region}",
                        row.provider, row.instance_type
                    );
                    agreed += 1;
                }
            }
        }
        assert!(agreed > 40, "{agreed}");
    }

    #[test]
    fn what_is_known_is_said_in_words() {
        assert!(said_of("ovh", "b3-16").starts_with("seen to work on 2025-12-08 (Spare Cores)"));
        assert!(said_of("latitude", "c2-small-x86").starts_with("documented (a whole machine)"));
        assert!(said_of("hetzner", "cx43").starts_with("there was none on 2025-10-16"));
        assert!(said_of("ovh", "b9-1").starts_with("unknown"));
    }
}
