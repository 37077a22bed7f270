//! `twolane init`: writes a commented `twolane.toml` fitted to the workspace it finds.

use std::fs;

use model::config;
use serde::Serialize;

use super::Context;
use crate::{
    args::{InitArgs, Preset},
    exit::Exit,
    problem::{Problem, Result},
    project::FILE,
    show::record::write_whole,
    workspace,
};

#[derive(Serialize)]
struct Written<'a> {
    path: &'a camino::Utf8Path,
    preset: &'a str,
}

/// Writes the file. One that is there is only overwritten on request.
pub(crate) fn run(context: &Context, args: &InitArgs) -> Result {
    let root = workspace::root(&context.dir).unwrap_or_else(|| context.dir.clone());
    let path = root.join(FILE);
    if fs::symlink_metadata(&path).is_ok() && !args.force {
        return Err(Problem::usage(format!("could not write {path}"))
            .because("it is there already")
            .help("twolane init --force overwrites it"));
    }
    let (name, preset) = match args.preset {
        Preset::Rust => ("rust", config::Preset::Rust),
        Preset::Mvm => ("mvm", config::Preset::Mvm),
    };
    let text = preset
        .text(&workspace::look(&root))
        .map_err(|error| Problem::infrastructure("could not fill in the preset").because(error))?;
    write_whole(&path, text.as_bytes())
        .map_err(|error| Problem::usage(format!("could not write {path}")).because(error))?;
    if context.style.is_json {
        context.style.document(&Written {
            path: &path,
            preset: name,
        });
    } else {
        context
            .style
            .result(&format!("wrote {path}; next: twolane plan, then twolane run"));
    }
    Ok(Exit::Passed)
}
