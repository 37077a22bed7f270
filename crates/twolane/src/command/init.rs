//! `twolane init`: writes a commented `twolane.toml` fitted to the workspace it finds, or a CI system's scheduled job.

use std::fs;

use camino::Utf8Path;
use model::{config, render::ci::Ci};
use serde::Serialize;

use crate::{
    args::{CiSystem, InitArgs, Preset},
    context::Context,
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
    if let Some(system) = args.ci {
        return write_job(context, args, &root, system);
    }
    let path = root.join(FILE);
    refuse_present(&path, args)?;
    let (name, preset) = match args.preset {
        Preset::Rust => ("rust", config::Preset::Rust),
        Preset::Mvm => ("mvm", config::Preset::Mvm),
    };
    let text = preset
        .text(&workspace::look(&root))
        .map_err(|error| Problem::infrastructure("could not fill in the preset").because(error))?;
    write(&path, &text)?;
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

#[derive(Serialize)]
struct WrittenJob<'a> {
    path: &'a Utf8Path,
}

/// Writes the job that runs `twolane reap` on a schedule.
fn write_job(context: &Context, args: &InitArgs, root: &Utf8Path, system: CiSystem) -> Result {
    let ci = match system {
        CiSystem::Github => Ci::Github,
        CiSystem::Gitlab => Ci::Gitlab,
    };
    let path = root.join(ci.path());
    refuse_present(&path, args)?;
    write(&path, ci.reap_job())?;
    if context.style.is_json {
        context.style.document(&WrittenJob { path: &path });
    } else {
        context
            .style
            .result(&format!("wrote {path}; next: {}", ci.next()));
    }
    Ok(Exit::Passed)
}

fn refuse_present(path: &Utf8Path, args: &InitArgs) -> Result<()> {
    if fs::symlink_metadata(path).is_ok() && !args.force {
        return Err(Problem::usage(format!("could not write {path}"))
            .because("it exists already")
            .help("twolane init --force overwrites it"));
    }
    Ok(())
}

fn write(path: &Utf8Path, text: &str) -> Result<()> {
    let cannot = |error| Problem::usage(format!("could not write {path}")).because(error);
    write_whole(path, text.as_bytes()).map_err(cannot)
}
