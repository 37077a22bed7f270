//! The shell adapters that commands know: those beside `twolane.toml`, and those of which a box may be left.

use std::{collections::BTreeMap, sync::Arc};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    config::{Boxes, Config},
    lane::KvmNeed,
    name::ProviderName,
    plan::Asked,
};

use ::providers::shell::{Shell, ShellSettings, name_of, recorded};

use crate::{
    known::{KnownProvider, Providers},
    paths::Paths,
    problem::{Problem, Result},
};

/// Where a project has its adapters.
const DIR: &str = "providers";

/// Returns the adapters, by name. None is read yet.
pub(crate) fn adapters(paths: &Paths) -> Providers {
    // A box is destroyed from anywhere; the project's own counts where both are there.
    let mut files = recorded(&paths.state);
    files.extend(paths.project.iter().flat_map(|dir| files_of(dir)));
    let shell = |file: &Utf8PathBuf| Shell::new(file, &paths.state, ShellSettings::default()).ok();
    let known = |shell: Shell| {
        let known = KnownProvider {
            provider: Arc::new(shell),
            missing: None,
        };
        Some(known)
    };
    files
        .into_iter()
        .filter_map(|(name, file)| Some((name, known(shell(&file)?)?)))
        .collect()
}

/// Returns the files of a project's adapters whose names can be a provider's.
fn files_of(dir: &Utf8Path) -> BTreeMap<ProviderName, Utf8PathBuf> {
    let entries = dir.join(DIR).read_dir_utf8().into_iter().flatten().flatten();
    entries
        .map(|entry| entry.into_path())
        .filter_map(|file| Some((name_of(&file).ok()?, file)))
        .collect()
}

/// Returns whether a provider is an adapter.
pub(crate) fn is_adapter(name: &ProviderName) -> bool {
    ::providers::names().all(|built_in| built_in != *name)
}

/// Returns the names of the providers that are asked for.
pub(crate) fn wanted<'a>(config: &'a Config, asked: &'a Asked) -> Vec<&'a str> {
    if let Some(provider) = &asked.provider {
        return vec![provider];
    }
    let lanes = config
        .lanes
        .iter()
        .filter(|lane| asked.lanes.is_empty() || asked.lanes.contains(&lane.name));
    lanes
        .flat_map(|lane| match &lane.boxes {
            Boxes::Listed(choices) => choices.as_slice(),
            Boxes::Cheapest => &[],
        })
        .map(|choice| choice.provider.as_str())
        .collect()
}

/// Refuses an adapter that is asked for and does not keep to the contract, before anything is called.
pub(crate) fn check_wanted(dir: &Utf8Path, wanted: &[&str], providers: &Providers) -> Result<()> {
    for name in wanted {
        // The plan reports a name that no provider has.
        let file = match ProviderName::new(*name) {
            Ok(name) => dir.join(DIR).join(format!("{name}.sh")),
            Err(_) => continue,
        };
        if !file.exists() {
            continue;
        }
        let problem = Problem::usage(format!("could not use {file}"));
        if let Err(mistake) = name_of(&file) {
            return Err(problem.because(mistake.what).help(mistake.help));
        }
        let known = providers.iter().find(|(known, _)| known.as_str() == *name);
        if let Some(error) = known.and_then(|(_, known)| known.provider.refuse("", KvmNeed::None)) {
            let problem = problem.because(error.cause);
            return Err(match error.help {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
    }
    Ok(())
}
