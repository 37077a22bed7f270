//! `twolane report`: what a run did, from what was recorded of it.

use std::io;

use model::{
    name::RunId,
    receipt::Receipt,
    report::{Changes, Report},
    time::Timestamp,
    world::Journal,
};
use serde::Serialize;

use crate::{
    args::{Format, ReportArgs},
    context::Context,
    exit::Exit,
    paths::Paths,
    problem::{Problem, Result},
    project,
    show::{
        gitlab,
        html::html,
        junit::junit,
        markdown::markdown,
        record::{self, runs},
        results, summary,
        table::fitted,
        text,
    },
    world::{block_on, journal},
};

/// Prints a report, or lists the runs.
pub(crate) fn run(context: &Context, args: &ReportArgs) -> Result {
    let paths = context.paths()?;
    if args.list {
        return list(context, &paths);
    }
    if let Some(runs) = &args.compare {
        return compare(context, args, &paths, runs);
    }
    let run = match &args.run {
        Some(run) => run.clone(),
        None => last(context, &paths)?,
    };
    if args.format == Format::Receipt {
        return receipt(context, &paths, &run);
    }
    let report = read(&paths, &run)?;
    let text = match args.format {
        _ if context.style.is_json => None,
        Format::Json | Format::Receipt => None,
        Format::Text => {
            gitlab::report(context.style, &report, &paths.run(&run));
            return Ok(Exit::Passed);
        }
        Format::Html => Some(html(&report)),
        Format::Markdown => Some(markdown(&report)),
        Format::Junit => {
            let written = junit(&report);
            Some(written.map_err(|error| Problem::usage("could not write JUnit").because(error))?)
        }
    };
    match text {
        Some(text) => context.style.result(&text),
        None => context.style.document(&report),
    }
    Ok(Exit::Passed)
}

/// Returns the last run of the project in this directory; outside of any project, the last run.
fn last(context: &Context, paths: &Paths) -> Result<RunId> {
    let project = project::find(&context.dir)
        .ok()
        .map(|project| project.config.project);
    let is_ours = |run: &RunId| match &project {
        Some(project) => record::read_report(&paths.run(run)).is_ok_and(|report| report.project == *project),
        None => true,
    };
    runs(paths).into_iter().rev().find(is_ours).ok_or_else(|| {
        let of = project
            .as_ref()
            .map_or(String::new(), |project| format!(" of {project}"));
        Problem::usage("could not find a run")
            .because(format!("{} has none{of}", paths.runs()))
            .help("twolane run makes one; twolane report --list shows those of all projects")
    })
}

/// Prints what the run made, and when its providers said that it is gone.
fn receipt(context: &Context, paths: &Paths, run: &RunId) -> Result {
    let entries = block_on(async { Ok(journal(paths)?.entries().await?) })?;
    let receipt = Receipt::of(run, &entries).ok_or_else(|| {
        Problem::usage(format!("could not write the receipt of run {run}"))
            .because("the journal does not know that run")
    })?;
    context.style.document(&receipt);
    Ok(Exit::Passed)
}

/// Reports what changed from one run to another.
fn compare(context: &Context, args: &ReportArgs, paths: &Paths, runs: &[RunId]) -> Result {
    let [first, second] = runs else {
        return Err(Problem::usage("could not compare").because("two runs are needed"));
    };
    let changes = Changes::between(&read(paths, first)?, &read(paths, second)?);
    match args.format {
        Format::Json => context.style.document(&changes),
        _ if context.style.is_json => context.style.document(&changes),
        Format::Text => context.style.result(&summary::changes(&changes)),
        Format::Html | Format::Junit | Format::Markdown | Format::Receipt => {
            return Err(Problem::usage("could not compare in that format").help("use --format text or json"));
        }
    }
    Ok(Exit::Passed)
}

/// Reads the report of a run, with what its checks found.
pub(crate) fn read(paths: &Paths, run: &RunId) -> Result<Report> {
    let dir = paths.run(run);
    let mut report = record::read_report(&dir).map_err(|error| {
        let problem = Problem::usage(format!("could not read run {run}"));
        match error.kind() {
            io::ErrorKind::NotFound => problem
                .because(format!("nothing is recorded of it in {}", paths.runs()))
                .help("twolane report --list shows the runs that are kept"),
            _ => problem.because(format!("{dir}: {error}")),
        }
    })?;
    results::fill(&mut report, &dir);
    Ok(report)
}

#[derive(Serialize)]
struct Row {
    run: RunId,
    began: Option<Timestamp>,
    project: String,
    verdict: Option<model::verdict::Verdict>,
    seconds: f64,
}

fn list(context: &Context, paths: &Paths) -> Result {
    let rows: Vec<Row> = runs(paths)
        .into_iter()
        .filter_map(|run| {
            let report = record::read_report(&paths.run(&run)).ok()?;
            Some(Row {
                run,
                began: report.began,
                project: report.project.clone(),
                verdict: report.verdict,
                seconds: report.seconds(),
            })
        })
        .collect();
    if context.style.is_json {
        context.style.document(&rows);
        return Ok(Exit::Passed);
    }
    let cells = rows.iter().map(|row| {
        vec![
            row.run.to_string(),
            row.began.map_or(String::new(), |began| {
                began.strftime("%Y-%m-%d %H:%M").to_string()
            }),
            row.project.clone(),
            row.verdict
                .map_or("not ended", |verdict| verdict.words())
                .to_owned(),
            text::show_seconds(row.seconds),
        ]
    });
    context.style.result(&fitted(
        &["run", "began (UTC)", "project", "verdict", "time"],
        cells,
    ));
    Ok(Exit::Passed)
}
