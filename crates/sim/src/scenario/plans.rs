//! The plans of the runs in a simulation.

use std::time::Duration;

use model::{
    build::Build,
    candidate::Candidate,
    check::Check,
    config::{Deploy, System},
    journal::Held,
    lane::KvmNeed,
    limits::Limits,
    name::{Label, ProviderName, RunId},
    options::Options,
    part::PastCheck,
    plan::{Keep, LanePlan, Plan, share},
    source::Source,
    tags::Owner,
};

use crate::{boxes::TESTS, world::Sim};

/// A newer run of the same change. Its id sorts after all that began before.
pub(super) fn newer(sim: &Sim, plan: &Plan) -> Plan {
    let id = format!("run-{:012}", sim.clock.elapsed().as_millis());
    let mut newer = with_other_labels(Plan {
        run: RunId::new(id).expect("it is an id"),
        ..plan.clone()
    });
    for lane in &mut newer.lanes {
        lane.supersede = true;
    }
    newer
}

pub(super) fn with_other_labels(mut plan: Plan) -> Plan {
    for lane in &mut plan.lanes {
        lane.label = Label::new(format!("{}-b", lane.label)).expect("it is a label");
    }
    plan
}

/// A run of its own whose box is to stay.
pub(super) fn up(plan: &Plan) -> Plan {
    let mut up = Plan {
        run: RunId::new("up").expect("it is an id"),
        keep: Keep::Passed,
        ..plan.clone()
    };
    up.lanes.truncate(1);
    for lane in &mut up.lanes {
        lane.label = Label::new("mvm-up-7f3a").expect("it is a label");
    }
    up
}

/// A run of its own on a box that exists.
pub(super) fn on_box(sim: &Sim, held: &Held) -> Plan {
    let id = format!("on-{:x}", sim.clock.below(1 << 40));
    let mut on = plan(sim, &id, true);
    on.lanes.truncate(1);
    for lane in &mut on.lanes {
        lane.label = held.tags.label.clone();
        for check in &mut lane.checks {
            check.slug = format!("{id}-{}", check.slug);
        }
    }
    on
}

/// Another run that wants the same labels.
pub(super) fn rival(sim: &Sim, plan: &Plan) -> Plan {
    let run = RunId::new(format!("rival-{}", sim.clock.below(1 << 40))).expect("it is an id");
    Plan { run, ..plan.clone() }
}

/// Draws a plan of one to three lanes.
pub(crate) fn plan(sim: &Sim, run: &str, is_calm: bool) -> Plan {
    let count = if is_calm { 2 } else { 1 + sim.clock.below(3) };
    let is_shared = !is_calm && sim.clock.happens(300);
    let lanes = match is_shared {
        true => shared(sim, count as u32 + 1),
        false => (0..count).map(|number| lane(sim, number, is_calm)).collect(),
    };
    Plan {
        run: RunId::new(run).expect("it is an id"),
        project: "mvm".to_owned(),
        sources: vec![Source {
            name: "mvm".to_owned(),
            user: "dev".to_owned(),
            path: "/src/mvm".into(),
        }],
        system: System::default(),
        toolchain: None,
        ca_certs: Vec::new(),
        operator_ca_certs: Vec::new(),
        revision: None,
        deploy: Deploy::default(),
        lanes,
        notes: Vec::new(),
        owner: Owner {
            repository: Some("acme-mvm".to_owned()),
            reference: Some("pr-17".to_owned()),
            ..Owner::default()
        },
        allow: vec!["203.0.113.7/32".to_owned()],
        operator_key: None,
        keep: match sim.clock.below(if is_calm { 1 } else { 6 }) {
            3 => Keep::Failed(Duration::from_secs(1800)),
            4 | 5 => Keep::Passed,
            _ => Keep::Never,
        },
        is_continued: sim.clock.happens(500),
        max_cost: Vec::new(),
        limits: Limits {
            run_bytes: match !is_calm && !is_shared && sim.clock.happens(200) {
                true => sim.clock.below(100),
                false => u64::MAX,
            },
            ..Limits::default()
        },
    }
}

/// Shares one lane over several boxes. Its last test is new.
fn shared(sim: &Sim, count: u32) -> Vec<LanePlan> {
    let whole = lane(sim, 0, false);
    let known = || &TESTS[..TESTS.len() - 1];
    let seconds = |test: &&str| ((*test).to_owned(), Some(sim.clock.below(60) as f64));
    let of = |check: &Check| {
        let past = PastCheck {
            seconds: 100.0,
            tests: known().iter().map(seconds).collect(),
        };
        ((whole.name.clone(), check.name.clone()), past)
    };
    let past = whole.checks.iter().map(of).collect();
    let label =
        |name: &str| Label::new(format!("mvm-{}-7f3a", name.replace('.', "-"))).expect("it is a label");
    let (mut lanes, _) = share(whole, count, &past, label);
    for lane in &mut lanes {
        let number = lane.share.as_ref().map_or(0, |share| share.number);
        for check in &mut lane.checks {
            check.slug = format!("{}-{number}", check.slug);
        }
    }
    lanes
}

fn lane(sim: &Sim, number: u64, is_calm: bool) -> LanePlan {
    let providers = ["alpha", "beta"];
    let count = if is_calm { 1 } else { 1 + sim.clock.below(3) };
    let first = if is_calm { number } else { sim.clock.below(2) };
    let candidate = |index: u64| Candidate {
        provider: ProviderName::new(providers[((first + index) % 2) as usize]).expect("it is a name"),
        region: "here".to_owned(),
        instance_type: format!("{}x4g", index + 1),
        image: None,
        disk_gb: None,
        options: Box::new(Options {
            spot: !is_calm && sim.clock.happens(500),
            ..Options::default()
        }),
    };
    let check = |index: u64| Check {
        slug: format!("lane{number}-check{index}"),
        timeout: Duration::from_secs(300),
        as_root: index == 1,
        env_from: vec!["SIM_VARIABLE".to_owned()],
        after: (index == 1).then(|| "check 0".to_owned()),
        ..Check::new(format!("check {index}"), format!("cargo test -p mvm-{index}"))
    };
    LanePlan {
        name: format!("lane{number}"),
        label: Label::new(format!("mvm-lane{number}-7f3a")).expect("it is a label"),
        need: if number.is_multiple_of(2) {
            KvmNeed::Required
        } else {
            KvmNeed::None
        },
        candidates: (0..count).map(candidate).collect(),
        // With a clock that is wrong, a deadline that comes so soon says nothing.
        ttl: match !is_calm && sim.faults().is_clock_right() && sim.clock.happens(500) {
            true => sim
                .clock
                .length(Duration::from_secs(60), Duration::from_secs(1200)),
            false => Duration::from_secs(2 * 3600),
        },
        max_cost: Vec::new(),
        has_deploy: sim.clock.happens(300),
        checks: (0..1 + sim.clock.below(2)).map(check).collect(),
        build: match sim.clock.happens(500) {
            true => Build::Auto,
            false => Build::Box,
        },
        is_continued: sim.clock.happens(500),
        fail_on_skip: false,
        supersede: false,
        share: None,
    }
}
