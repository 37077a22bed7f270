//! The binary: reads the command line, runs one command, and makes an exit code of how it ended.

mod adapters;
mod args;
mod builder;
mod certificates;
mod clock;
mod command;
mod complete;
mod context;
mod exit;
mod help;
mod keys;
mod known;
mod offers;
mod owner;
mod past;
mod paths;
mod planning;
mod prebuilt;
mod problem;
mod project;
mod quotes;
mod reach;
mod scale_set;
mod show;
mod signals;
mod toolchain;
mod typed;
mod workspace;
mod world;

use std::process::ExitCode;

use clap_complete::CompleteEnv;

use crate::{problem::Problem, show::stream};

fn main() -> ExitCode {
    CompleteEnv::with_factory(|| complete::with_values(help::command()))
        .var(command::COMPLETE)
        .complete();
    let cli = match typed::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(exit) => return exit.into(),
    };
    // Whatever this process was started with: nothing that it makes is for others to write to.
    let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    rustix::process::umask(before | rustix::fs::Mode::from_raw_mode(0o022));
    let style = context::style(&cli.global);
    let exit = command::run(cli, style).unwrap_or_else(|problem| show::problem::show(style, &problem));
    match stream::lost() {
        Some(error) => {
            let problem = Problem::infrastructure("could not write the result").because(error);
            exit.max(show::problem::show(style, &problem))
        }
        None => exit,
    }
    .into()
}
