//! `twolane man`: manual pages, from the definition of the command line.

use std::{fs, io};

use camino::Utf8Path;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::{
    args::{Cli, ManArgs},
    context::Context,
    exit::Exit,
    problem::{Problem, Result},
};

/// Prints one page, or writes all.
pub(crate) fn run(context: &Context, args: &ManArgs) -> Result {
    let pages = pages();
    if let Some(dir) = &args.dir {
        return write(&pages, &context.dir.join(dir)).map(|()| Exit::Passed);
    }
    let name = match &args.command {
        Some(command) => format!("twolane-{command}"),
        None => "twolane".to_owned(),
    };
    let page = pages.iter().find(|page| page.get_name() == name).ok_or_else(|| {
        Problem::usage(format!("could not find the manual page {name}"))
            .because("there is no such command")
            .help("twolane help lists them")
    })?;
    context
        .style
        .raw(&text(page).map_err(|error| cannot_write("the page", &error))?);
    Ok(Exit::Passed)
}

fn pages() -> Vec<Command> {
    let mut root = Cli::command();
    root.build();
    let pages = root
        .get_subcommands()
        .filter(|command| command.get_name() != "help")
        .map(|command| command.clone().name(format!("twolane-{}", command.get_name())))
        .collect::<Vec<_>>();
    std::iter::once(root).chain(pages).collect()
}

fn text(page: &Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    Man::new(page.clone()).render(&mut text)?;
    Ok(text)
}

fn write(pages: &[Command], dir: &Utf8Path) -> Result<()> {
    fs::create_dir_all(dir).map_err(|error| cannot_write(dir.as_str(), &error))?;
    for page in pages {
        let path = dir.join(format!("{}.1", page.get_name()));
        text(page)
            .and_then(|text| fs::write(&path, text))
            .map_err(|error| cannot_write(path.as_str(), &error))?;
    }
    Ok(())
}

fn cannot_write(what: &str, error: &io::Error) -> Problem {
    Problem::infrastructure(format!("could not write {what}")).because(error)
}
