//! The binary: reads the command line, runs one command, and makes an exit code of how it ended.

mod adapters;
mod args;
mod clock;
mod command;
mod context;
mod exit;
mod known;
mod offers;
mod owner;
mod paths;
mod planning;
mod problem;
mod project;
mod reach;
mod show;
mod signals;
mod toolchain;
mod workspace;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::{args::Cli, exit::Exit, problem::Problem, show::stream};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; a reader that had enough of them is no failure.
            let _ = error.print();
            return if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Passed
            }
            .into();
        }
    };
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
