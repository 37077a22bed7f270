//! `twolane verify`: one full cycle on one provider, and a record of what it showed.

use std::env;

use camino::Utf8Path;
use model::{
    config::Lane,
    matrix::{Around, Record},
    plan::{Asked, Plan},
    report::Report,
};

use super::{matrix, report, run::from_start_to_end};
use crate::{
    args::VerifyArgs,
    context::Context,
    owner, planning,
    problem::{Problem, Result},
    project,
    show::record::write_whole,
};

/// Runs the cycle and writes its record down.
pub(crate) fn run(context: &Context, args: &VerifyArgs) -> Result {
    let project = project::find(&context.dir)?;
    let path = project.dir.join(&args.matrix.path);
    // Read the matrix first: an unreadable one must fail before anything is spent.
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
    let Some(record) = record(&plan, &report) else {
        context
            .style
            .message("note: no box was ever asked for, so there is nothing to record");
        return Ok(exit);
    };
    let status = record.status().words();
    context
        .style
        .message(&format!("{} {}: {status}", record.provider, record.instance_type));
    records.records.push(record);
    let mut text = serde_json::to_vec_pretty(&records)
        .map_err(|error| Problem::usage("could not write the record").because(error))?;
    text.push(b'\n');
    write_whole(&path, &text).map_err(|error| {
        Problem::usage(format!("could not write the record into {path}"))
            .because(error)
            .help("make it writable, or name another file: --matrix FILE")
    })?;
    context.style.message(&format!("recorded in {path}"));
    Ok(exit)
}

/// Returns the lane that shows most.
fn fullest(lanes: &[Lane]) -> Option<&Lane> {
    let deploys = || lanes.iter().find(|lane| lane.deploy);
    let needs_kvm = || lanes.iter().find(|lane| lane.kvm.is_needed());
    deploys().or_else(needs_kvm).or(lanes.first())
}

fn record(plan: &Plan, report: &Report) -> Option<Record> {
    let lane = plan.lanes.first()?;
    let machine = report
        .lanes
        .get(&lane.name)
        .and_then(|lane| lane.machine.as_ref());
    let around = Around {
        stand_in: machine
            .and_then(|machine| providers::endpoint(&machine.provider, &|name| env::var(name).ok())),
        commit: plan.sources.first().and_then(|source| commit(&source.path)),
    };
    Record::of(report, lane, around)
}

/// Returns the commit that is checked out, with `-dirty` where files have changed; none outside of git.
fn commit(dir: &Utf8Path) -> Option<String> {
    let what = ["describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"];
    owner::git(dir, &what)
}
