//! `twolane init`: writes a commented `twolane.toml` fitted to the workspace it finds, or jobs for a CI system.

use std::{fs, process::Command};

use camino::{Utf8Path, Utf8PathBuf};
use model::{config, render::ci::Ci};
use serde::Serialize;

use crate::{
    args::{CiSystem, InitArgs, Preset},
    context::Context,
    exit::Exit,
    problem::{Problem, Result},
    project::FILE,
    show::record::write_shared,
    workspace,
};

#[derive(Serialize)]
struct Written<'a> {
    path: &'a camino::Utf8Path,
    preset: &'a str,
}

/// A file that git does not know is worth a word from this size on, in bytes.
const BIG: u64 = 50_000_000;

/// Writes the file. One that is there is only overwritten on request.
pub(crate) fn run(context: &Context, args: &InitArgs) -> Result {
    let root = workspace::root(&context.dir).unwrap_or_else(|| context.dir.clone());
    if let Some(system) = args.ci {
        return write_jobs(context, args, &root, system);
    }
    if workspace::root(&context.dir).is_none() {
        return Err(Problem::usage("could not find a Rust workspace")
            .because(format!(
                "neither {} nor a directory above it has a Cargo.toml",
                context.dir
            ))
            .help("go to the project's directory, or name it: twolane -C DIR init"));
    }
    let path = root.join(FILE);
    refuse_present(&path, args)?;
    let (name, preset) = match args.preset {
        Preset::Rust => ("rust", config::Preset::Rust),
        Preset::Mvm => ("mvm", config::Preset::Mvm),
    };
    let found = workspace::look(&root);
    let text = preset
        .text(&found)
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
        for note in found.notes.into_iter().chain(big_files(&root)) {
            context.style.message(&format!("note: {note}"));
        }
    }
    Ok(Exit::Passed)
}

/// Names what git does not know and would be copied to every box all the same.
fn big_files(root: &Utf8Path) -> Vec<String> {
    let mut list = Command::new("git");
    list.args(["ls-files", "--others", "--exclude-standard", "-z"])
        .current_dir(root);
    let Ok(output) = list.output() else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let size = |path: &str| fs::symlink_metadata(root.join(path)).map_or(0, |file| file.len());
    text.split('\0')
        .map(|path| (path, size(path)))
        .filter(|(_, size)| *size >= BIG)
        .map(|(path, size)| {
            format!(
                "{path} ({} MB) is not in git, and would be copied to every box: .gitignore keeps it here",
                size / 1_000_000
            )
        })
        .collect()
}

#[derive(Serialize)]
struct WrittenJobs<'a> {
    paths: &'a [Utf8PathBuf],
}

/// Writes the jobs that run the lanes, and reap on a schedule.
fn write_jobs(context: &Context, args: &InitArgs, root: &Utf8Path, system: CiSystem) -> Result {
    let ci = match system {
        CiSystem::Github => Ci::Github,
        CiSystem::Gitlab => Ci::Gitlab,
        CiSystem::Buildkite => Ci::Buildkite,
    };
    let files = ci.files().map(|(path, text)| (root.join(path), text));
    for (path, _) in &files {
        refuse_present(path, args)?;
    }
    for (path, text) in &files {
        write(path, text)?;
    }
    let paths = files.map(|(path, _)| path);
    if context.style.is_json {
        context.style.document(&WrittenJobs { paths: &paths });
    } else {
        let [run, reap] = &paths;
        context
            .style
            .result(&format!("wrote {run} and {reap}; next: {}", ci.next()));
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
    write_shared(path, text.as_bytes()).map_err(cannot)
}
