//! Which boxes could be had and what is known of their KVM: the table of `providers::kvm`, what the runs of this machine
//! saw, and this machine itself.

use ::providers::{
    kvm::{self, Entry, Knowledge, Observation},
    local,
};
use model::{
    event::{Event, EventRecord},
    lane::KvmNeed,
    machine::Machine,
    money::Money,
    name::{ProviderName, RunId},
    plan::Offer,
    world::Provider,
};

use crate::{
    known::{self, Providers},
    paths::Paths,
    show::record,
};

/// Returns what is known of every type, this machine's boxes included.
pub(crate) fn entries(paths: &Paths, providers: &Providers) -> Vec<Entry> {
    let observations = observations(paths);
    let mut entries = kvm::known(&observations);
    for entry in &mut entries {
        let known = providers.iter().find(|(name, _)| name.as_str() == entry.provider);
        let prices = known.and_then(|(_, known)| known.provider.prices());
        let region = entry.regions.first().filter(|_| entry.hourly.is_some());
        // What a provider reported lately counts more than the table.
        if let (Some(prices), Some(region)) = (prices, region)
            && let Some((hourly, day)) = prices.hourly(&entry.instance_type, region)
        {
            (entry.hourly, entry.price_day) = (Some(hourly), Some(day));
        }
    }
    if let Some(local) = known::local(providers) {
        // Of whatever size such a box was: its KVM is this machine's.
        entries.retain(|entry| entry.provider != local::NAME);
        entries.push(of_this_machine(local, &observations));
    }
    entries
}

/// Returns what a lane with `boxes = "cheapest"` may take: of providers that can be used, and this machine for nothing.
pub(crate) fn offers(
    paths: &Paths,
    providers: &Providers,
    is_usable: &dyn Fn(&ProviderName) -> bool,
) -> Vec<Offer> {
    let entries = entries(paths, providers);
    let offers = entries.iter().flat_map(Entry::offers);
    offers
        .filter(|offer| is_usable(&offer.candidate.provider))
        .collect()
}

/// Returns what is known of this machine's boxes of the usual size, which cost nothing.
fn of_this_machine(local: &dyn Provider, observations: &[Observation]) -> Entry {
    let mut entry = Entry {
        provider: local::NAME.to_owned(),
        instance_type: local.default_choice().0.to_owned(),
        regions: vec![local.default_choice().1.to_owned()],
        arch: std::env::consts::ARCH.to_owned(),
        vcpus: Some(2),
        memory_gb: Some(4),
        kind: KvmNeed::Nested,
        hourly: Some(Money {
            micros: 0,
            currency: "USD".to_owned(),
        }),
        price_day: None,
        kvm: Knowledge::Documented,
        kvm_day: None,
        source: "nested where this machine's works, else emulated".to_owned(),
    };
    if let Some(last) = observations.iter().rfind(|seen| seen.provider == local::NAME) {
        entry.take(last);
    }
    entry
}

/// Returns what the KVM gates of this machine's runs answered, oldest first. A run that cannot be read reports nothing.
fn observations(paths: &Paths) -> Vec<Observation> {
    let of_run = |run: RunId| {
        let records = record::read_event_records(&paths.run(&run)).unwrap_or_default();
        of_event_records(&run, &records)
    };
    record::runs(paths).into_iter().flat_map(of_run).collect()
}

/// Takes each gate's answer together with the box that its lane had then.
fn of_event_records(run: &RunId, records: &[EventRecord]) -> Vec<Observation> {
    let mut seen = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let Event::Gate { answer } = &record.event else {
            continue;
        };
        let Some(machine) = box_of(&records[..at], record.lane.as_deref()) else {
            continue;
        };
        seen.push(Observation {
            provider: machine.provider.to_string(),
            instance_type: machine.instance_type.clone(),
            region: machine.region.clone(),
            works: answer.works,
            is_metal: answer.facts.machine.as_deref() == Some("bare metal"),
            arch: answer.facts.arch.clone(),
            day: record.at.strftime("%Y-%m-%d").to_string(),
            run: run.to_string(),
        });
    }
    seen
}

fn box_of<'a>(before: &'a [EventRecord], lane: Option<&str>) -> Option<&'a Machine> {
    let of_lane = before.iter().rev().filter(|it| it.lane.as_deref() == lane);
    of_lane
        .filter_map(|it| match &it.event {
            Event::MachineUp { machine } => Some(machine),
            _ => None,
        })
        .next()
}

/// Says where an entry's price holds.
pub(crate) fn place(entry: &Entry) -> String {
    let first = entry.regions.first().map_or("-", String::as_str);
    match entry.regions.len() {
        0 | 1 => first.to_owned(),
        several => format!("{first} and {} more", several - 1),
    }
}

#[cfg(test)]
mod tests {
    use model::{
        gate::{GateAnswer, GateFacts},
        name::Label,
    };

    use super::*;

    fn up(lane: &str, instance_type: &str) -> EventRecord {
        let machine = Machine {
            label: Label::new("box-1").unwrap(),
            provider: ProviderName::new("ovh").unwrap(),
            id: "1".to_owned(),
            region: "GRA11".to_owned(),
            instance_type: instance_type.to_owned(),
            address: "203.0.113.20".parse().unwrap(),
            port: 22,
            jump: None,
            host_key: None,
            note: None,
        };
        record(lane, Event::MachineUp { machine })
    }

    fn gate(lane: &str, works: bool) -> EventRecord {
        let answer = GateAnswer {
            works,
            facts: GateFacts {
                machine: Some("nested".to_owned()),
                ..GateFacts::default()
            },
            ..GateAnswer::default()
        };
        record(lane, Event::Gate { answer })
    }

    fn record(lane: &str, event: Event) -> EventRecord {
        EventRecord::new("2026-11-23T03:04:05Z".parse().unwrap(), Some(lane), event)
    }

    #[test]
    fn each_gate_speaks_of_the_box_that_its_lane_had_then() {
        let records = [
            up("live", "d2-2"),
            up("other", "b3-32"),
            gate("live", false),
            up("live", "b3-16"),
            gate("live", true),
            gate("nobody", true),
        ];
        let seen = of_event_records(&RunId::new("r1").unwrap(), &records);
        let words: Vec<_> = seen
            .iter()
            .map(|it| (it.instance_type.as_str(), it.works, it.day.as_str()))
            .collect();
        assert_eq!(
            words,
            [("d2-2", false, "2026-11-23"), ("b3-16", true, "2026-11-23")]
        );
    }
}
