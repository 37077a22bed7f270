//! The commands, one file each.

mod attach;
mod boxes;
mod completions;
mod deploy;
mod doctor;
mod down;
mod extend;
mod fetch;
mod init;
mod kvm;
mod logs;
mod ls;
mod man;
mod matrix;
mod plan;
mod providers;
mod reap;
mod render;
mod report;
mod run;
mod smoke;
mod split;
mod ssh;
mod test;
mod up;
mod verify;

use anstream::ColorChoice;
use camino::{Utf8Path, Utf8PathBuf};

use crate::{
    args::{Cli, Color, Command, Global},
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

/// Runs the command.
pub(crate) fn run(cli: Cli, style: Style) -> Result {
    let dir = absolute(cli.global.directory.as_deref().unwrap_or(Utf8Path::new(".")))?;
    if !dir.is_dir() {
        return Err(Problem::usage(format!("could not work in {dir}")).because("there is no such directory"));
    }
    let context = Context {
        style,
        dir,
        state_dir: cli.global.state_dir.filter(|dir| !dir.as_str().is_empty()),
    };
    match cli.command {
        Command::Init(args) => init::run(&context, &args),
        Command::Plan(args) => plan::run(&context, &args),
        Command::Doctor(args) => doctor::run(&context, &args),
        Command::Run(args) => run::run(&context, &args),
        Command::Attach(args) => attach::run(&context, &args),
        Command::Up(args) => up::run(&context, &args),
        Command::Deploy(args) => deploy::run(&context, &args),
        Command::Test(args) => test::run(&context, &args),
        Command::Smoke(args) => smoke::run(&context, &args),
        Command::Fetch(args) => fetch::run(&context, &args),
        Command::Down(args) => down::run(&context, &args),
        Command::Reap(args) => reap::run(&context, &args),
        Command::Ls => ls::run(&context),
        Command::Ssh(args) => ssh::run(&context, &args),
        Command::Logs(args) => logs::run(&context, &args),
        Command::Extend(args) => extend::run(&context, &args),
        Command::Render(args) => render::run(&context, &args),
        Command::Providers(args) => providers::run(&context, &args),
        Command::Verify(args) => verify::run(&context, &args),
        Command::Matrix(args) => matrix::run(&context, &args),
        Command::Split(args) => split::run(&context, &args),
        Command::Report(args) => report::run(&context, &args),
        Command::Completions(args) => completions::run(&context, &args),
        Command::Man(args) => man::run(&context, &args),
    }
}
