//! The project in a directory: its `twolane.toml`, or what takes its place in a Rust workspace.

use std::{collections::BTreeSet, fs};

use camino::{Utf8Path, Utf8PathBuf};
use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use model::{
    config::{Around, Config, Mistake, read, without_file},
    name::ProviderName,
};
use thiserror::Error;

use crate::{
    problem::{Problem, Result},
    workspace,
};

/// The name of the file.
pub(crate) const FILE: &str = "twolane.toml";

/// How many mistakes are shown: each is drawn with its place in the file.
const SHOWN_MAX: usize = 50;

/// A project that can be planned.
#[derive(Debug)]
pub(crate) struct Project {
    /// Where `twolane.toml` is, or would be.
    pub(crate) dir: Utf8PathBuf,
    /// What it says.
    pub(crate) config: Config,
    /// Whether there is a file, or the `rust` preset stands in for it.
    pub(crate) has_file: bool,
}

/// Returns the directory of the project that `dir` belongs to, whatever its file says.
pub(crate) fn directory(dir: &Utf8Path) -> Option<Utf8PathBuf> {
    let with_file = dir.ancestors().find(|dir| dir.join(FILE).is_file());
    with_file.map(Utf8Path::to_owned).or_else(|| workspace::root(dir))
}

/// Finds the project that `dir` belongs to.
pub(crate) fn find(dir: &Utf8Path) -> Result<Project> {
    if let Some(dir) = dir.ancestors().find(|dir| dir.join(FILE).is_file()) {
        return from_file(dir);
    }
    let root = workspace::root(dir).ok_or_else(|| {
        Problem::usage(format!("could not find {FILE}"))
            .because(format!(
                "neither {dir} nor a directory above it has one, nor is it a Rust workspace"
            ))
            .help("twolane init writes one")
    })?;
    let config = without_file(&workspace::look(&root)).map_err(|mistakes| {
        mistakes.iter().fold(
            Problem::usage(format!("could not make a configuration for the workspace {root}"))
                .help("twolane init writes one that can be changed"),
            |problem, mistake| problem.because(&mistake.message),
        )
    })?;
    Ok(Project {
        dir: root,
        config,
        has_file: false,
    })
}

fn from_file(dir: &Utf8Path) -> Result<Project> {
    let path = dir.join(FILE);
    let text = fs::read_to_string(&path)
        .map_err(|error| Problem::usage(format!("could not read {path}")).because(error))?;
    let around = Around {
        name: dir.file_name().unwrap_or_default().to_owned(),
        providers: ::providers::names().chain(adapters(dir)).collect(),
    };
    let config = read(&text, &around).map_err(|mistakes| mistaken(&path, &text, &mistakes))?;
    Ok(Project {
        dir: dir.to_owned(),
        config,
        has_file: true,
    })
}

/// Returns the names of the shell adapters beside the file.
fn adapters(dir: &Utf8Path) -> BTreeSet<ProviderName> {
    let Ok(entries) = dir.join("providers").read_dir_utf8() else {
        return BTreeSet::new();
    };
    entries
        .filter_map(|entry| ProviderName::new(entry.ok()?.file_name().strip_suffix(".sh")?).ok())
        .collect()
}

/// One mistake, in its file.
#[derive(Debug, Error)]
#[error("{}", mistake.message)]
struct Underlined {
    mistake: Mistake,
    file: NamedSource<String>,
}

impl Diagnostic for Underlined {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.mistake
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn std::fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.file)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = LabeledSpan::new_with_span(Some("here".to_owned()), self.mistake.span.clone());
        Some(Box::new(std::iter::once(label)))
    }
}

fn mistaken(path: &Utf8Path, text: &str, mistakes: &[Mistake]) -> Problem {
    let count = match mistakes.len() {
        1 => "a mistake".to_owned(),
        count if count > SHOWN_MAX => format!("{count} mistakes; these are the first {SHOWN_MAX}"),
        count => format!("{count} mistakes"),
    };
    let mut problem = Problem::usage(format!("{path} has {count}"));
    let shown = &mistakes[..mistakes.len().min(SHOWN_MAX)];
    for mistake in shown {
        let (line, column) = mistake.place(text);
        let help = mistake
            .help
            .as_ref()
            .map_or(String::new(), |help| format!(" ({help})"));
        problem = problem.because(format!("{path}:{line}:{column}: {}{help}", mistake.message));
    }
    problem.drawn = shown
        .iter()
        .map(|mistake| {
            let underlined = Underlined {
                mistake: mistake.clone(),
                file: NamedSource::new(path, text.to_owned()),
            };
            Box::new(underlined) as Box<dyn Diagnostic + Send + Sync>
        })
        .collect();
    problem
}
