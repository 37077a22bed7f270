//! `twolane man`: manual pages, from the definition of the command line.

use std::{
    fs,
    io::{self, Write as _},
};

use camino::Utf8Path;
use clap::Command;
use clap_mangen::Man;

use crate::{
    args::ManArgs,
    context::Context,
    exit::Exit,
    help,
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
    let mut root = help::command();
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
    let man = Man::new(page.clone());
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if page.get_name() == "twolane" {
        man.render_subcommands_section(&mut text)?;
    }
    write!(text, "{}", end(page))?;
    Ok(text)
}

/// Returns the sections that clap knows nothing of.
fn end(page: &Command) -> String {
    let name = page.get_name();
    let command = name.strip_prefix("twolane-").unwrap_or(name);
    let mut text = ".SH EXAMPLES\n".to_owned();
    for (typed, does) in help::examples(command) {
        text += &format!(".PP\n{}\n.RS 4\n.nf\n{}\n.fi\n.RE\n", escape(does), escape(typed));
    }
    text += ".SH \"EXIT STATUS\"\n";
    for line in help::exit_codes().lines() {
        let (code, means) = line.trim().split_once(' ').unwrap_or_default();
        text += &format!(".TP\n{code}\n{}\n", escape(means.trim()));
    }
    text += ".SH ENVIRONMENT\n";
    let variables = [
        ("TWOLANE_STATE_DIR", "Default of --state-dir"),
        ("TWOLANE_MAX_COST", "Default of --max-cost"),
        ("TWOLANE_ALLOW_CIDR", "Default of --allow-cidr"),
        (
            "TWOLANE_PROVIDER, TWOLANE_REGION, TWOLANE_INSTANCE_TYPE, TWOLANE_LABEL",
            "Defaults of the options of the same names",
        ),
        (
            "TWOLANE_DISK, TWOLANE_SSH_PUBKEY",
            "Defaults of --disk and --ssh-pubkey",
        ),
        ("NO_COLOR", "Use no colours, unless --color always says so"),
        ("CLICOLOR_FORCE", "Use colours in a pipe too"),
    ];
    for (name, means) in variables {
        text += &format!(".TP\n{name}\n{}\n", escape(means));
    }
    text += ".PP\nProviders read the variables of their own tools; see twolane-providers(1).\n";
    text += ".SH FILES\n";
    let files = [
        ("twolane.toml", "Lanes, sources and what boxes get"),
        ("providers/NAME.sh", "Shell adapter of the provider NAME"),
        (
            "$XDG_STATE_HOME/twolane",
            "Journal, keys, and one directory for each run under runs/",
        ),
        (
            "$XDG_CACHE_HOME/twolane",
            "Base images; twolane makes them again where they are missing",
        ),
    ];
    for (path, means) in files {
        text += &format!(".TP\n{}\n{}\n", escape(path), escape(means));
    }
    text += ".SH \"SEE ALSO\"\n";
    let also = if name == "twolane" {
        "twolane-run(1), twolane-up(1), twolane-reap(1)"
    } else {
        "twolane(1)"
    };
    text + &escape(also) + "\n"
}

/// Returns the text so that roff prints it as it is.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    match text.chars().next() {
        Some('.' | '\'') => format!("\\&{text}"),
        _ => text,
    }
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
