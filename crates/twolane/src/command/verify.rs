//! `twolane verify`: one full cycle on one provider, and a record of what it showed.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
};

use camino::Utf8Path;
use model::{
    config::Lane,
    matrix::{Around, Record},
    plan::{Asked, Plan},
    report::Report,
};

use super::{
    matrix, report,
    run::{begin_and_end, planned},
};
use crate::{
    args::VerifyArgs,
    context::Context,
    owner, planning,
    problem::{Problem, Result},
    project,
    show::record::write_shared,
};

/// Runs the cycle and writes its record down.
pub(crate) fn run(context: &Context, args: &VerifyArgs) -> Result {
    let project = project::find(&context.dir)?;
    let path = project.dir.join(&args.matrix.path);
    require_directory(&path)?;
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
    let plan = planned(context, &project, &asked)?;
    if !args.yes {
        confirm(&plan)?;
    }
    let exit = begin_and_end(context, &project, &plan)?;
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
    write_shared(&path, &text).map_err(|error| {
        Problem::usage(format!("could not write the record into {path}"))
            .because(error)
            .help("make it writable, or name another file: --matrix FILE")
    })?;
    context.style.message(&format!("recorded in {path}"));
    Ok(exit)
}

/// Refuses a file in a directory that is not there: it would be made for a record alone.
fn require_directory(path: &Utf8Path) -> Result<()> {
    let dir = path.parent().unwrap_or(Utf8Path::new("."));
    if dir.is_dir() {
        return Ok(());
    }
    Err(Problem::usage(format!("could not keep the record in {path}"))
        .because(format!("there is no directory {dir}"))
        .help("make it, or name another file: --matrix FILE"))
}

/// Asks whether the boxes may be made: a cycle costs time, and money where they are not free.
fn confirm(plan: &Plan) -> Result<()> {
    let problem = Problem::usage("could not begin the cycle");
    if !io::stdin().is_terminal() {
        return Err(problem
            .because("it makes a box, and there is no terminal to ask on")
            .help("twolane verify --yes makes it without asking"));
    }
    let boxes: Vec<String> = plan
        .lanes
        .iter()
        .flat_map(|lane| {
            lane.candidates
                .first()
                .map(|candidate| format!("{} for {}", candidate, lane.name))
        })
        .collect();
    // Not through the streams of results: with --json, too, a person answers.
    let _ = write!(anstream::stderr(), "make a box ({})? [y/N] ", boxes.join(", "));
    let mut answer = String::new();
    match io::stdin().read_line(&mut answer) {
        Ok(_) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        Ok(_) => Err(problem.because("the answer was not `y`")),
        Err(error) => Err(problem.because(error)),
    }
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
