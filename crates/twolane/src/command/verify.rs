//! `twolane verify`: one full cycle on one provider, and a record of what it showed.

use std::process::Command;

use camino::Utf8Path;
use model::{
    candidate::Candidate,
    config::Lane,
    matrix::{Around, Record},
    plan::{Asked, Plan, Price},
    report::Report,
};

use super::{Context, matrix, report, run::from_start_to_end};
use crate::{
    args::VerifyArgs,
    planning,
    problem::{Problem, Result},
    project::{self, Project},
    show::record::write_whole,
    world::providers,
};

/// Runs the cycle and writes its record down.
pub(crate) fn run(context: &Context, args: &VerifyArgs) -> Result {
    let project = project::find(&context.dir)?;
    let path = project.dir.join(&args.matrix.path);
    // A matrix that cannot be read is told before anything is spent.
    let mut records = matrix::read(&path)?;
    let lane = match &args.lane {
        Some(lane) => Some(lane.clone()),
        None => fullest(&project.config.lanes).map(|lane| lane.name.clone()),
    };
    let asked = Asked {
        lanes: lane.into_iter().collect(),
        // All the evidence that can be had.
        is_continued: true,
        ..planning::asked_of_boxes(&args.boxes)?
    };
    let (exit, plan) = from_start_to_end(context, &project, &asked)?;
    let report = report::read(&context.paths()?, &plan.run)?;
    let Some(record) = record(context, &project, &plan, &report)? else {
        context
            .style
            .tell("note: no box was ever asked for, so there is nothing to record");
        return Ok(exit);
    };
    let status = record.status().words();
    context
        .style
        .tell(&format!("{} {}: {status}", record.provider, record.instance_type));
    records.records.push(record);
    let mut text = serde_json::to_vec_pretty(&records)
        .map_err(|error| Problem::usage("could not write the record").because(error))?;
    text.push(b'\n');
    write_whole(&path, &text).map_err(|error| {
        Problem::usage(format!("could not write the record into {path}"))
            .because(error)
            .help("make it writable, or name another file: --matrix FILE")
    })?;
    context.style.tell(&format!("recorded in {path}"));
    Ok(exit)
}

/// Returns the lane that shows most.
fn fullest(lanes: &[Lane]) -> Option<&Lane> {
    let deploys = || lanes.iter().find(|lane| lane.deploy);
    let needs_kvm = || lanes.iter().find(|lane| lane.kvm.is_needed());
    deploys().or_else(needs_kvm).or(lanes.first())
}

fn record(context: &Context, project: &Project, plan: &Plan, report: &Report) -> Result<Option<Record>> {
    let Some(lane) = plan.lanes.first() else {
        return Ok(None);
    };
    let machine = report
        .lanes
        .get(&lane.name)
        .and_then(|lane| lane.machine.as_ref());
    let providers = providers(&context.paths()?, &project.config.local)?;
    let price = machine.map_or(Price::Unknown, |machine| {
        let candidate = Candidate {
            provider: machine.provider.clone(),
            region: machine.region.clone(),
            instance_type: machine.instance_type.clone(),
            image: None,
            disk_gb: None,
        };
        planning::price(&candidate, &providers)
    });
    let around = Around {
        stand_in: machine.and_then(|machine| {
            ::providers::endpoint(machine.provider.as_str(), &|name| std::env::var(name).ok())
        }),
        commit: plan.sources.first().and_then(|source| commit(&source.path)),
    };
    Ok(Record::of(report, lane, &price, around))
}

/// Returns the commit that is checked out, with `-dirty` where files have changed; none outside of git.
fn commit(dir: &Utf8Path) -> Option<String> {
    let output = Command::new("git")
        .args([
            "-C",
            dir.as_str(),
            "describe",
            "--always",
            "--abbrev=40",
            "--exclude=*",
            "--dirty",
        ])
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success()).then(|| text.trim().to_owned())
}
