//! `twolane doctor`: whether a run could work, one line for each thing, with the mend.

use std::{env, fs};

use camino::Utf8Path;
use model::{
    config,
    lane::KvmNeed,
    name::ProviderName,
    world::{Finding, Provider},
};
use serde::Serialize;

use super::{Context, boxes};
use crate::{
    args::DoctorArgs,
    exit::Exit,
    planning::usable,
    problem::{Problem, Result},
    project,
    show::stream::Style,
    toolchain,
    world::{block_on, journal, providers},
};

#[derive(Serialize)]
struct Line {
    about: String,
    #[serde(flatten)]
    finding: Finding,
}

/// Looks at everything.
pub(crate) fn run(context: &Context, args: &DoctorArgs) -> Result {
    let paths = context.paths()?;
    // Outside of a project this machine is looked at all the same.
    let (local, need, mut lines) = match project::find(&context.dir) {
        Ok(project) => {
            let need = project
                .config
                .lanes
                .iter()
                .map(|lane| lane.kvm)
                .find(|need| need.is_needed());
            let lines = vec![line("project", good("configuration", project.dir.as_str()))];
            (project.config.local, need.unwrap_or_default(), lines)
        }
        Err(problem) => {
            let found = problem.because.first().unwrap_or(&problem.error).clone();
            let finding = bad(
                "configuration",
                &found,
                problem.help.as_deref().unwrap_or("twolane plan shows it whole"),
            );
            (
                config::Local::default(),
                KvmNeed::default(),
                vec![line("project", finding)],
            )
        }
    };
    lines.push(line("machine", state_dir(&paths.state)));
    for program in ["ssh", "ssh-keygen", "rsync", "git"] {
        lines.push(line("machine", has_program(program)));
    }
    lines.push(line("machine", rust(&context.dir)));
    let providers = providers(&paths, &local)?;
    let wanted = args.provider.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = wanted
        && !providers.keys().any(|known| known.as_str() == name)
    {
        let names: Vec<&str> = providers.keys().map(ProviderName::as_str).collect();
        return Err(Problem::usage(format!("could not look at the provider `{name}`"))
            .because("there is none of that name")
            .help(format!("the providers are: {}", names.join(", "))));
    }
    let lines = block_on(async {
        for (name, provider) in &usable(&providers) {
            if wanted.is_none_or(|wanted| wanted == name.as_str()) {
                for finding in preflight(provider.as_ref(), need).await {
                    // What every provider needs has been looked at.
                    if lines.iter().all(|line| line.finding.what != finding.what) {
                        lines.push(line(name.as_str(), finding));
                    }
                }
            }
        }
        if paths.has_journal() {
            boxes::notice_unfinished(context, &paths, &*journal(&paths)?).await?;
        }
        Ok(lines)
    })?;
    print(context.style, &lines);
    let is_good = lines.iter().all(|line| line.finding.is_good);
    Ok(if is_good {
        Exit::Passed
    } else {
        Exit::Infrastructure
    })
}

async fn preflight(provider: &dyn Provider, need: KvmNeed) -> Vec<Finding> {
    match provider.preflight() {
        Some(preflight) => {
            let (instance_type, region) = (provider.default_instance_type(), provider.default_region());
            preflight.preflight(instance_type, region, need).await
        }
        None => Vec::new(),
    }
}

fn print(style: Style, lines: &[Line]) {
    if style.is_json {
        return style.document(&lines);
    }
    for Line { about, finding } in lines {
        let word = if finding.is_good { "ok  " } else { "bad " };
        let mend = finding
            .mend
            .as_ref()
            .filter(|_| !finding.is_good)
            .map_or(String::new(), |mend| format!("; {mend}"));
        style.result(&format!(
            "{word} {about}: {}: {}{mend}",
            finding.what, finding.found
        ));
    }
}

fn line(about: &str, finding: Finding) -> Line {
    Line {
        about: about.to_owned(),
        finding,
    }
}

fn good(what: &str, found: &str) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good: true,
        found: found.to_owned(),
        mend: None,
    }
}

fn bad(what: &str, found: &str, mend: &str) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good: false,
        found: found.to_owned(),
        mend: Some(mend.to_owned()),
    }
}

/// Tells whether the state directory, or the nearest one above it that is there, can be written.
fn state_dir(dir: &Utf8Path) -> Finding {
    let there = dir.ancestors().find(|dir| dir.exists()).unwrap_or(dir);
    let access = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    match rustix::fs::access(there.as_std_path(), access) {
        Ok(()) => good("state directory", dir.as_str()),
        Err(error) => bad(
            "state directory",
            &format!("{there} cannot be written: {error}"),
            "make it writable, or choose another: --state-dir DIR",
        ),
    }
}

fn has_program(name: &str) -> Finding {
    let found = env::var_os("PATH").and_then(|path| {
        env::split_paths(&path)
            .map(|dir| dir.join(name))
            .find(|path| fs::metadata(path).is_ok_and(|file| file.is_file()))
    });
    match found {
        Some(path) => good(name, &path.display().to_string()),
        None => {
            let package = if name.starts_with("ssh") {
                "openssh-client"
            } else {
                name
            };
            bad(
                name,
                "not found",
                &format!("install it: apt-get install {package}"),
            )
        }
    }
}

fn rust(dir: &Utf8Path) -> Finding {
    match toolchain::find(dir) {
        Ok(toolchain) => good(
            "rust toolchain",
            &format!("{} (key {})", toolchain.sysroot, toolchain.key),
        ),
        Err(problem) => bad(
            "rust toolchain",
            problem.because.first().map_or("not found", String::as_str),
            problem.help.as_deref().unwrap_or_default(),
        ),
    }
}
