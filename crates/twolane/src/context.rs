//! What the global flags say, for every command.

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
}

impl Context {
    /// Takes the directory and the state directory that the global flags name.
    pub(crate) fn new(style: Style, global: Global) -> Result<Self> {
        let dir = absolute(global.directory.as_deref().unwrap_or(Utf8Path::new(".")))?;
        if !dir.is_dir() {
            return Err(
                Problem::usage(format!("could not work in {dir}")).because("there is no such directory")
            );
        }
        Ok(Self {
            style,
            dir,
            state_dir: global.state_dir.filter(|dir| !dir.as_str().is_empty()),
        })
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
