//! What the global flags say, for every command.

use std::{collections::BTreeSet, fs, io};

use anstream::ColorChoice;
use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    args::{Color, Global},
    paths::{Paths, absolute},
    problem::{Problem, Result},
    project,
    show::stream::Style,
};

/// What every command is given.
pub(crate) struct Context {
    /// How it prints.
    pub(crate) style: Style,
    /// Where it works.
    pub(crate) dir: Utf8PathBuf,
    state_dir: Option<Utf8PathBuf>,
    /// The options whose values are the environment's.
    of_environment: BTreeSet<String>,
}

impl Context {
    /// Takes the directory and the state directory that the global flags name.
    pub(crate) fn new(style: Style, global: Global) -> Result<Self> {
        let dir = absolute(global.directory.as_deref().unwrap_or(Utf8Path::new(".")))
            .map_err(|problem| problem.help("work in another one: -C DIR"))?;
        if let Err(error) = fs::read_dir(&dir) {
            let problem = Problem::usage(format!("could not work in {dir}"));
            return Err(match error.kind() {
                io::ErrorKind::NotFound => problem.because("there is no such directory"),
                io::ErrorKind::NotADirectory => problem.because("it is not a directory"),
                _ => problem.because(error),
            });
        }
        Ok(Self {
            of_environment: global.of_environment,
            style,
            dir,
            state_dir: global.state_dir.filter(|dir| !dir.as_str().is_empty()),
        })
    }

    /// Returns where an option's value came from: the option itself, or the variable that stands for it.
    pub(crate) fn source(&self, option: &str) -> String {
        match self.of_environment.contains(option) {
            true => format!("TWOLANE_{}", option.to_uppercase()),
            false => format!("--{}", option.replace('_', "-")),
        }
    }

    /// Returns where things are kept.
    pub(crate) fn paths(&self) -> Result<Paths> {
        let paths = Paths::find(self.state_dir.as_deref())?;
        Ok(Paths {
            project: project::directory(&self.dir),
            ..paths
        })
    }
}

/// Returns how a command prints, by the global flags.
pub(crate) fn style(global: &Global) -> Style {
    let color = match global.color {
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
        // Unlike anstream's own choice, an empty NO_COLOR does not count, as its definition says.
        Color::Auto if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) => {
            ColorChoice::Never
        }
        Color::Auto => ColorChoice::Auto,
    };
    Style {
        is_json: global.json,
        verbosity: global.verbose,
        is_quiet: global.quiet,
        color,
    }
}
