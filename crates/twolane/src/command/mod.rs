//! The commands, one file each.

mod attach;
mod boxes;
mod cache;
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
mod runner;
mod smoke;
mod split;
mod ssh;
mod test;
mod up;
mod verify;

pub(crate) use self::completions::VARIABLE as COMPLETE;
use crate::{
    args::{Cli, Command},
    context::Context,
    problem::Result,
    show::stream::Style,
};

/// Runs the command.
pub(crate) fn run(cli: Cli, style: Style) -> Result {
    let context = Context::new(style, cli.global)?;
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
        Command::Runner(args) => runner::run(&context, &args),
        Command::Split(args) => split::run(&context, &args),
        Command::Report(args) => report::run(&context, &args),
        Command::Cache(args) => cache::run(&context, &args),
        Command::Completions(args) => completions::run(&context, &args),
        Command::Man(args) => man::run(&context, &args),
    }
}
