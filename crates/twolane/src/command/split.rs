//! `twolane split`: runs every test of the suite in the boxes of the lanes, each under the tracer, and reports which half it belongs to.

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    check::Check,
    name::RunId,
    plan::{Asked, LanePlan},
    skips::{Baseline, Proposal, Split, propose, suite_arguments, suite_command},
};
use serde::Serialize;

use super::{
    report,
    run::{begin_and_end, planned},
};
use crate::{
    args::SplitArgs,
    context::Context,
    exit::Exit,
    planning,
    problem::{Problem, Result},
    project::{self, Project},
    show::{record, skips},
    workspace,
};

/// The check that stands for a lane's own.
const NAME: &str = "split";

/// The baseline when the project names none.
const BASELINE: &str = "twolane-skips.txt";

/// Finds the two halves.
pub(crate) fn run(context: &Context, args: &SplitArgs) -> Result {
    let paths = context.paths()?;
    let (run, exit) = match &args.from {
        Some(run) => (run.clone(), Exit::Passed),
        None => trace(context, args)?,
    };
    if exit >= Exit::Interrupted {
        // What was said of boxes comes last.
        return Ok(exit);
    }
    let traced = report::read(&paths, &run)?
        .split
        .filter(|split| !split.lanes.is_empty());
    let Some(split) = traced else {
        return match exit {
            Exit::Passed => Err(untraced(&run)),
            exit => Ok(exit),
        };
    };
    let selection = selection(&paths.run(&run), args);
    let project = project::find(&context.dir).ok();
    let gates = project
        .map(|project| workspace::gates(&project.dir))
        .unwrap_or_default();
    show(
        context,
        args,
        &split,
        &propose(&split, &selection).with_gates(&gates),
    );
    if args.write_baseline {
        write_baseline(context, &project::find(&context.dir)?, &split)?;
    }
    Ok(exit.max(judged(context, &split)))
}

/// Returns what selected the suite: the run's own selection where none is given now.
fn selection(dir: &Utf8Path, args: &SplitArgs) -> Vec<String> {
    if !args.suite.is_empty() {
        return args.suite.clone();
    }
    let plan = record::read_plan(dir).ok();
    let checks = plan
        .iter()
        .flat_map(|plan| &plan.lanes)
        .flat_map(|lane| &lane.checks);
    let mut selections = checks.filter_map(|check| suite_arguments(&check.run));
    selections.next().unwrap_or_default()
}

/// Runs the suite in the lanes' boxes. Which run it was comes with how that ended.
fn trace(context: &Context, args: &SplitArgs) -> Result<(RunId, Exit)> {
    let project = project::find(&context.dir)?;
    let asked = Asked {
        lanes: args.lanes.clone(),
        ..planning::asked_of_boxes(&args.boxes)?
    };
    let mut plan = planned(context, &project, &asked)?;
    for lane in &mut plan.lanes {
        lane.checks = vec![suite(lane, &args.suite)];
    }
    let exit = begin_and_end(context, &project, &plan)?;
    Ok((plan.run, exit))
}

/// Returns the check that runs the whole suite under the tracer, for as long as the box may live.
fn suite(lane: &LanePlan, arguments: &[String]) -> Check {
    Check {
        timeout: lane.ttl,
        trace: true,
        ..Check::new(NAME, suite_command(arguments))
    }
}

fn untraced(run: &RunId) -> Problem {
    Problem::usage(format!("could not split the tests of run {run}"))
        .because("none of its checks ran under the tracer")
        .help("twolane split runs them so; `trace = true` in a lane does it in every run")
}

#[derive(Serialize)]
struct Reported<'a> {
    event: &'static str,
    #[serde(flatten)]
    split: &'a Split,
    proposal: &'a Proposal,
}

fn show(context: &Context, args: &SplitArgs, split: &Split, proposal: &Proposal) {
    let reported = Reported {
        event: NAME,
        split,
        proposal,
    };
    match &args.from {
        // The events of the run were lines.
        None if context.style.is_json => context.style.line(&reported),
        Some(_) if context.style.is_json => context.style.document(&reported),
        None => context.style.result(&skips::halves(split, proposal)),
        Some(_) => {
            let text = skips::text(split) + &skips::halves(split, proposal);
            context.style.result(text.trim_start_matches('\n'));
        }
    }
}

fn write_baseline(context: &Context, project: &Project, split: &Split) -> Result<()> {
    let named = project.config.baseline.as_deref();
    let name: Utf8PathBuf = named.unwrap_or(BASELINE.into()).to_owned();
    let path = project.dir.join(&name);
    record::write_shared(&path, Baseline::text(split).as_bytes()).map_err(|error| {
        Problem::usage(format!("could not write the baseline {path}"))
            .because(error)
            .help("make its directory writable")
    })?;
    let mut text = format!("baseline: {path}, {} tests", split.skipped.len());
    if named.is_none() {
        text += &format!("\n  help: add `baseline = \"{name}\"` to [project]");
    }
    context.style.message(&text);
    Ok(())
}

/// Returns how the answer itself ends the program. A test that fails only for want of a device is no failure here.
fn judged(context: &Context, split: &Split) -> Exit {
    let failed = split.failed().count();
    let is_whole = split
        .lanes
        .values()
        .all(|lane| lane.doubts.is_empty() && !lane.counts.is_empty());
    if !is_whole {
        let doubts = split.lanes.iter().filter(|(_, lane)| lane.counts.is_empty());
        let silent: Vec<&str> = doubts.map(|(name, _)| name.as_str()).collect();
        let silent = match silent.as_slice() {
            [] => String::new(),
            silent => format!("\n  because: nothing was seen of {}", silent.join(", ")),
        };
        context.style.message(&format!(
            "error: the split is not whole{silent}\n  help: see the notes above; twolane report shows how each lane ended"
        ));
    }
    match (failed, is_whole, split.why_failed.is_empty()) {
        (_, false, _) => Exit::Infrastructure,
        (0, true, true) => Exit::Passed,
        _ => Exit::Failed,
    }
}
