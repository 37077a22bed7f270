//! `twolane doctor`: whether a run could work, one line for each thing, with what to do.

use std::{collections::BTreeMap, env, fs};

use camino::Utf8Path;
use futures::future::join_all;
use model::{
    candidate::Candidate, config::Rust, lane::KvmNeed, name::ProviderName, plan::Asked, world::Finding,
};
use serde::Serialize;

use super::boxes;
use crate::{
    args::DoctorArgs,
    context::Context,
    exit::Exit,
    known::{self, KnownProvider, Providers},
    planning::{self, Look, Planned},
    problem::Result,
    project::{self, Project},
    show::stream::Style,
    toolchain, workspace,
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
    let (project, finding) = match project::find(&context.dir) {
        Ok(project) => {
            let finding = good("configuration", project.dir.as_str());
            (Some(project), finding)
        }
        Err(problem) => {
            let found = problem.because.first().unwrap_or(&problem.error).clone();
            let help = problem.help.as_deref().unwrap_or("twolane plan shows it whole");
            (None, bad("configuration", &found, help))
        }
    };
    let mut lines = vec![line("project", finding), line("machine", state_dir(&paths.state))];
    for program in ["ssh", "ssh-keygen", "rsync", "git"] {
        lines.push(line("machine", has_program(program)));
    }
    lines.push(line("machine", rust(&context.dir, project.as_ref())));
    let local = project.as_ref().map(|project| project.config.local.clone());
    let providers = providers(&paths, &local.unwrap_or_default())?;
    let wanted = args.provider.as_deref().filter(|name| !name.is_empty());
    if let Some(name) = wanted {
        known::named(&providers, name)?;
    }
    let planned = project
        .as_ref()
        .map(|project| planning::plan(project, &Asked::default(), &providers, &paths, Look::Quick));
    lines.extend(planned.iter().flat_map(plan_lines));
    let wishes = wishes(planned, &providers);
    let looked_at = providers.iter().filter(|(name, known)| match wanted {
        Some(wanted) => wanted == name.as_str(),
        // What has no credentials is a mistake only where a lane would use it.
        None => known.missing.is_none() || wishes.contains_key(name),
    });
    let found = block_on(async {
        let found = join_all(looked_at.map(|(name, known)| look(name, known, wishes.get(name)))).await;
        if paths.has_journal()? {
            boxes::notice_unfinished(context, &paths, &*journal(&paths)?).await?;
        }
        Ok(found)
    })?;
    for new in found.into_iter().flatten() {
        // What every provider needs has been looked at.
        let is_same = |line: &Line| {
            line.finding.what == new.finding.what && (line.about == "machine" || line.finding == new.finding)
        };
        if !lines.iter().any(is_same) {
            lines.push(new);
        }
    }
    print(context.style, &lines);
    let is_good = lines.iter().all(|line| line.finding.is_good);
    Ok(if is_good {
        Exit::Passed
    } else {
        Exit::Infrastructure
    })
}

/// Returns what is wrong with the plan, and what of `[deploy]` no source has.
fn plan_lines(planned: &Result<Planned>) -> Vec<Line> {
    match planned {
        Err(problem) => {
            let found = problem.because.first().unwrap_or(&problem.error);
            let help = problem.help.as_deref().unwrap_or("twolane plan shows it whole");
            vec![line("project", bad("plan", found, help))]
        }
        Ok(planned) => {
            let lacking = workspace::lacking(&planned.plan).into_iter();
            let help = "add the source that has it, or take it out of [deploy]";
            lacking
                .map(|lacking| line("project", bad("deploy", &lacking, help)))
                .collect()
        }
    }
}

/// What a lane would ask a provider for: type, region, KVM.
type Wish = (String, String, KvmNeed);

/// Returns what the project's lanes would ask each provider for. Of a fallbacks only the first fallback: the others are for when
/// that one has nothing free.
fn wishes(planned: Option<Result<Planned>>, providers: &Providers) -> BTreeMap<ProviderName, Vec<Wish>> {
    let Some(Ok(planned)) = planned else {
        return BTreeMap::new();
    };
    let mut wishes: BTreeMap<ProviderName, Vec<Wish>> = BTreeMap::new();
    for lane in &planned.plan.lanes {
        let refused = planned.refused.iter().filter(|refused| refused.lane == lane.name);
        let candidates = lane
            .candidates
            .iter()
            .chain(refused.map(|refused| &refused.candidate));
        for candidate in candidates {
            let wish = (
                candidate.instance_type.clone(),
                candidate.region.clone(),
                lane.need,
            );
            let wished = wishes.entry(candidate.provider.clone()).or_default();
            if !wished.contains(&wish) && !is_fallback(candidate, providers) {
                wished.push(wish);
            }
        }
    }
    wishes
}

fn is_fallback(candidate: &Candidate, providers: &Providers) -> bool {
    let known = providers.get(&candidate.provider);
    let choices = known.map_or(&[][..], |known| known.provider.choices());
    choices.iter().skip(1).any(|fallback| {
        fallback.instance_type == candidate.instance_type && fallback.region == candidate.region
    })
}

/// Looks at one provider, for each thing that a lane would ask it for, or for its defaults.
async fn look(name: &ProviderName, known: &KnownProvider, wishes: Option<&Vec<Wish>>) -> Vec<Line> {
    if let Some(error) = &known.missing {
        let help = error.help.as_deref().unwrap_or_default();
        return vec![line(name.as_str(), bad("credentials", &error.cause, help))];
    }
    let provider = &known.provider;
    let Some(preflight) = provider.preflight() else {
        return Vec::new();
    };
    let default = || {
        let (instance_type, region) = provider.default_choice();
        vec![(instance_type.to_owned(), region.to_owned(), KvmNeed::default())]
    };
    let wishes = wishes
        .filter(|wishes| !wishes.is_empty())
        .cloned()
        .unwrap_or_else(default);
    let looks = wishes
        .iter()
        .map(|(instance_type, region, need)| preflight.preflight(instance_type, region, *need));
    let findings = join_all(looks).await.into_iter().flatten();
    findings.map(|finding| line(name.as_str(), finding)).collect()
}

fn print(style: Style, lines: &[Line]) {
    if style.is_json {
        return style.document(&lines);
    }
    for Line { about, finding } in lines {
        let word = if finding.is_good { "ok  " } else { "bad " };
        let help = finding
            .help
            .as_ref()
            .filter(|_| !finding.is_good)
            .map_or(String::new(), |help| format!("; {help}"));
        style.result(&format!(
            "{word} {about}: {}: {}{help}",
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
        help: None,
    }
}

fn bad(what: &str, found: &str, help: &str) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good: false,
        found: found.to_owned(),
        help: Some(help.to_owned()),
    }
}

/// Returns whether the state directory, or the nearest one above it that is there, can be written.
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

fn rust(dir: &Utf8Path, project: Option<&Project>) -> Finding {
    let configured = project.and_then(|project| project.config.system.rust.clone());
    let wanted = configured.unwrap_or_else(Rust::any);

    match toolchain::find(dir, &wanted) {
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
