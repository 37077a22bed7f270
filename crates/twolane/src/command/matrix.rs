//! `twolane matrix`: what was shown on which provider, from the records that `verify` made.

use std::{fs, io};

use camino::Utf8Path;
use model::matrix::Matrix;

use crate::{
    args::{MatrixArgs, MatrixFormat},
    context::Context,
    exit::Exit,
    known::Providers,
    problem::{Problem, Result},
    project,
    show::matrix,
    world::providers,
};

/// Shows the matrix.
pub(crate) fn run(context: &Context, args: &MatrixArgs) -> Result {
    let project = project::find(&context.dir)?;
    let providers = providers(&context.paths()?, &project.config.local)?;
    let records = read(&project.dir.join(&args.file.path))?;
    let known = known(&providers);
    let rows = records.rows(&known);
    match args.format {
        _ if context.style.is_json => context.style.document(&rows),
        MatrixFormat::Json => context.style.document(&rows),
        MatrixFormat::Text => context.style.result(&matrix::text(&rows)),
        MatrixFormat::Markdown => context.style.result(&matrix::markdown(&rows)),
        MatrixFormat::Html => context.style.result(&matrix::html(&rows)),
    }
    Ok(Exit::Passed)
}

/// Reads the matrix; one that was never written is empty.
pub(super) fn read(path: &Utf8Path) -> Result<Matrix> {
    let problem = || Problem::usage(format!("could not read the matrix {path}"));
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Matrix::default()),
        Err(error) => return Err(problem().because(error)),
    };
    serde_json::from_slice(&bytes).map_err(|error| {
        problem()
            .because(error)
            .help("fix it, or name another file: --matrix FILE")
    })
}

/// Returns every provider, and how it was checked where no cycle was ever run on it.
fn known(providers: &Providers) -> Vec<(String, String)> {
    let instead = |name: &str| match name {
        "equinix" => "retired by its vendor on 2026-06-30",
        "local" | "host" => "no cycle is on record",
        _ => "checked against its fake",
    };
    providers
        .keys()
        .map(|name| (name.to_string(), instead(name.as_str()).to_owned()))
        .collect()
}
