//! `twolane report`: what a run did, from what was written down of it.

use std::io;

use model::{name::RunId, report::Report};
use serde::Serialize;

use super::Context;
use crate::{
    args::{Format, ReportArgs},
    exit::Exit,
    paths::Paths,
    problem::{Problem, Result},
    show::{record, table::table, text},
};

/// Prints a report, or lists the runs.
pub(crate) fn run(context: &Context, args: &ReportArgs) -> Result {
    let paths = context.paths()?;
    if args.list {
        return list(context, &paths);
    }
    let run = match &args.run {
        Some(run) => run.clone(),
        None => runs(&paths).pop().ok_or_else(|| {
            Problem::usage("could not find a run")
                .because(format!("{} has none", paths.runs()))
                .help("twolane run makes one")
        })?,
    };
    let report = read(&paths, &run)?;
    if args.format == Format::Json || context.style.is_json {
        context.style.document(&report);
    } else {
        context.style.result(&text::report(&report, &paths.run(&run)));
    }
    Ok(Exit::Passed)
}

/// Reads the report of a run.
pub(crate) fn read(paths: &Paths, run: &RunId) -> Result<Report> {
    let dir = paths.run(run);
    record::read_report(&dir).map_err(|error| {
        let problem = Problem::usage(format!("could not read run {run}"));
        match error.kind() {
            io::ErrorKind::NotFound => problem
                .because(format!("nothing is written down of it in {}", paths.runs()))
                .help("twolane report --list shows the runs that are kept"),
            _ => problem.because(format!("{dir}: {error}")),
        }
    })
}

/// Returns the runs that are kept, oldest first.
pub(crate) fn runs(paths: &Paths) -> Vec<RunId> {
    let Ok(entries) = paths.runs().read_dir_utf8() else {
        return Vec::new();
    };
    let mut runs: Vec<RunId> = entries
        .filter_map(|entry| RunId::new(entry.ok()?.file_name()).ok())
        .filter(|run| paths.run(run).join(record::EVENTS).exists())
        .collect();
    runs.sort();
    runs
}

#[derive(Serialize)]
struct Row {
    run: RunId,
    project: String,
    verdict: Option<model::report::Verdict>,
    seconds: f64,
}

fn list(context: &Context, paths: &Paths) -> Result {
    let rows: Vec<Row> = runs(paths)
        .into_iter()
        .filter_map(|run| {
            let report = record::read_report(&paths.run(&run)).ok()?;
            Some(Row {
                run,
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
            row.project.clone(),
            row.verdict
                .map_or("not ended", |verdict| verdict.words())
                .to_owned(),
            text::show_seconds(row.seconds),
        ]
    });
    context
        .style
        .result(&table(&["run", "project", "verdict", "time"], cells));
    Ok(Exit::Passed)
}
