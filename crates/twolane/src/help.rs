//! The command line with what derive cannot say: commands in groups, and examples. Keeps out: the options themselves.

use std::fmt::Write as _;

use anstyle::Style;
use clap::{Command, CommandFactory as _, builder::Styles};

use crate::args::Cli;

/// The commands, in the groups and the order that `--help` prints.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Everyday",
        &["init", "plan", "doctor", "run", "attach", "split", "report"],
    ),
    (
        "Boxes",
        &[
            "up", "ls", "ssh", "logs", "test", "deploy", "smoke", "fetch", "extend", "down",
        ],
    ),
    (
        "Maintenance",
        &[
            "reap",
            "runner",
            "cache",
            "providers",
            "render",
            "verify",
            "matrix",
        ],
    ),
    ("Shell", &["completions", "man"]),
];

/// What is typed, without the prompt; and what it does.
type Example = (&'static str, &'static str);

/// Examples of twolane itself.
const FIRST: &[Example] = &[
    ("twolane run", "Run all lanes of this project, side by side"),
    (
        "twolane run live-kvm --keep 30m",
        "Keep the box of a failed lane for half an hour",
    ),
    (
        "twolane up no-kvm",
        "Make a box that stays, for `test`, `ssh` and `logs`",
    ),
];

/// Examples of the commands. The second word says of which.
const EXAMPLES: &[Example] = &[
    ("twolane init", "Write twolane.toml for this Rust workspace"),
    (
        "twolane init --ci github",
        "Write GitHub Actions workflows that run and reap",
    ),
    (
        "twolane plan",
        "Show lanes, candidates and prices without any request",
    ),
    (
        "twolane plan --provider gcp -v",
        "Plan for one provider, and list what is not copied",
    ),
    ("twolane doctor", "Check what the lanes of this project need"),
    (
        "twolane doctor --provider aws",
        "Check credentials, quota, type and price at AWS",
    ),
    ("twolane run", "Run all lanes, side by side"),
    (
        "twolane run no-kvm --continue",
        "Run every check of one lane, also after a failure",
    ),
    (
        "twolane run --provider gcp --max-cost '2 USD'",
        "Run at Google, unless it could cost more",
    ),
    ("twolane run --keep 30m", "Keep failed boxes for half an hour"),
    (
        "twolane run --host eve@desk",
        "Run on a machine that you can log in to",
    ),
    (
        "twolane attach 20261123-160157-baf6",
        "Resume a run after its client died",
    ),
    ("twolane split", "Trace every test in the boxes of all lanes"),
    (
        "twolane split no-kvm -- -p my-crate",
        "Trace the tests of one package in one lane",
    ),
    (
        "twolane split --write-baseline",
        "Accept today's silent skips; later ones fail the run",
    ),
    ("twolane report", "Show the last run of this project"),
    ("twolane report --list", "List recorded runs"),
    (
        "twolane report --format markdown",
        "Print a summary for a pull request",
    ),
    (
        "twolane report --compare 20261122-160157-baf6 20261123-160157-c0de",
        "Show what changed between two runs",
    ),
    ("twolane up live-kvm", "Make a box for the lane live-kvm"),
    (
        "twolane up no-kvm --label bench --ttl 4h",
        "Choose its name, and when it is destroyed",
    ),
    ("twolane ls", "List boxes, with deadline, price and state"),
    ("twolane ssh mvm-live-1", "Log in as the user who runs the checks"),
    ("twolane ssh mvm-live-1 -u root dmesg", "Run one command as root"),
    ("twolane logs mvm-live-1 --check 'live kvm' -f", "Follow a check"),
    (
        "twolane logs mvm-live-1 --console",
        "Show what the kernel printed",
    ),
    (
        "twolane test mvm-live-1",
        "Sync, then run all checks of the box's lane",
    ),
    ("twolane test mvm-live-1 'live kvm'", "Run one check"),
    (
        "twolane test -- seccomp",
        "Run the tests whose name contains `seccomp`",
    ),
    ("twolane test --failed", "Run what did not pass last time"),
    (
        "twolane test --watch",
        "Run again whenever a file changes; enter, f and q are keys",
    ),
    (
        "twolane test --watch 'live kvm' -- boots",
        "Do so with some tests of one check",
    ),
    ("twolane deploy mvm-live-1", "Build and restart what has changed"),
    (
        "twolane deploy mvm-live-1 --rotate-secret",
        "Generate a new secret as well",
    ),
    ("twolane smoke mvm-live-1", "Run the smoke script"),
    (
        "twolane fetch mvm-live-1",
        "Collect logs, JUnit files and artifacts",
    ),
    (
        "twolane extend mvm-live-1 --by 1h",
        "Let the box live an hour longer",
    ),
    (
        "twolane extend mvm-live-1 --to 2026-11-23T18:00:00Z",
        "Let it live until this moment",
    ),
    ("twolane down mvm-live-1", "Destroy one box"),
    ("twolane down --all", "Destroy every box made from this machine"),
    ("twolane providers", "List providers, and what each lacks here"),
    (
        "twolane providers --kvm --max-price 0.20",
        "Find cheap boxes with a working /dev/kvm",
    ),
    (
        "twolane providers check providers/acme.sh",
        "Check a shell adapter",
    ),
    ("twolane reap --dry-run", "Show what would be destroyed"),
    (
        "twolane reap --owner repository=acme/mvm",
        "Reap only the boxes of one repository",
    ),
    (
        "twolane runner github --url https://github.com/ORG --name kvm --lane live-kvm --max 8",
        "Serve the jobs of an organisation that say `runs-on: kvm`",
    ),
    (
        "twolane runner github --url https://github.com/ORG/REPO --name kvm --lane live-kvm --max 4 --warm 1",
        "Keep one box ready for the next job of a repository",
    ),
    ("twolane runner status", "Show jobs and boxes of the runners here"),
    ("twolane cache ls", "List base images, toolchains and templates"),
    (
        "twolane cache prune --max 5GB",
        "Delete what was unused for longest",
    ),
    (
        "twolane render cloud-init live-kvm",
        "Print the user-data of a lane's box",
    ),
    (
        "twolane verify --provider hetzner",
        "Run one full cycle and record it",
    ),
    (
        "twolane matrix --format markdown",
        "Print the matrix for a README",
    ),
    (
        "twolane completions bash > ~/.local/share/bash-completion/completions/twolane",
        "Install them for bash",
    ),
    (
        "twolane completions fish > ~/.config/fish/completions/twolane.fish",
        "Install them for fish",
    ),
    ("twolane man run | man -l -", "Read the manual page of `run`"),
    ("twolane man --dir ~/.local/share/man/man1", "Install all pages"),
];

const EXIT_CODES: &str = "\
  0    every check passed, or was skipped with a reason
  1    a check failed or timed out
  2    wrong usage or configuration; nothing was created
  3    infrastructure failed; everything created was destroyed
  4    something could not be destroyed; the last lines say what
  130  interrupted; everything was destroyed";

/// Returns the examples of a command; those of twolane itself for `twolane`.
pub(crate) fn examples(command: &str) -> Vec<Example> {
    if command == "twolane" {
        return FIRST.to_vec();
    }
    let is_of = |(typed, _): &&Example| typed.split(' ').nth(1) == Some(command);
    EXAMPLES.iter().filter(is_of).copied().collect()
}

/// Returns the exit codes, one a line.
pub(crate) fn exit_codes() -> &'static str {
    EXIT_CODES
}

/// Returns the whole command line, as clap parses and prints it.
pub(crate) fn command() -> Command {
    let root = Cli::command();
    let names: Vec<String> = root
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .collect();
    let heading = heading();
    // clap has one template for `-h` and `--help`, and no groups of commands.
    let is_short = std::env::args_os().any(|argument| argument == "-h");
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{}\n{{options}}{{after-help}}",
        list(&root, is_short)
    );
    let after = format!(
        "{}\n{heading}Exit codes:{heading:#}\n{EXIT_CODES}",
        shown("twolane")
    );
    let root = root
        .help_template(template)
        .after_help("`twolane --help` describes every command, `twolane COMMAND -h` one.")
        .after_long_help(after);
    names.iter().fold(root, |root, name| {
        root.mut_subcommand(name, |command| command.after_long_help(shown(name)))
    })
}

/// Returns the commands in groups: each with its help, or only the everyday ones.
fn list(root: &Command, is_short: bool) -> String {
    let heading = heading();
    let mut text = String::new();
    for (title, names) in GROUPS {
        if is_short && title != GROUPS[0].0 {
            let _ = writeln!(text, "{heading}{title}:{heading:#} {}", names.join(", "));
            continue;
        }
        let _ = writeln!(text, "{heading}{title}:{heading:#}");
        for name in names {
            let _ = writeln!(text, "{}", line(root, name));
        }
        text.push('\n');
    }
    text
}

fn line(root: &Command, name: &str) -> String {
    let about = root
        .find_subcommand(name)
        .and_then(Command::get_about)
        .map(ToString::to_string)
        .unwrap_or_default();
    let styles = Styles::styled();
    let literal = styles.get_literal();
    format!("  {literal}{name:<11}{literal:#}  {about}")
}

fn heading() -> Style {
    *Styles::styled().get_header()
}

fn shown(command: &str) -> String {
    let heading = heading();
    let mut text = format!("{heading}Examples:{heading:#}\n");
    for (typed, does) in examples(command) {
        let _ = writeln!(text, "  {typed}\n      {does}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::Arg;

    use super::*;

    /// Longest help text of a command or an option, in columns.
    const HELP_MAX: usize = 80;
    /// Lines of a terminal's window that nobody has enlarged.
    const SCREEN: usize = 24;

    /// Returns every command and subcommand.
    fn all() -> Vec<Command> {
        let mut root = command();
        root.build();
        let mut found = vec![root];
        let mut at = 0;
        while at < found.len() {
            let below: Vec<Command> = found[at]
                .get_subcommands()
                .filter(|command| command.get_name() != "help")
                .cloned()
                .collect();
            found.extend(below);
            at += 1;
        }
        found
    }

    #[test]
    fn every_command_is_in_one_group() {
        let grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| names.iter().copied())
            .collect();
        let unique: BTreeSet<&str> = grouped.iter().copied().collect();
        let root = Cli::command();
        let known: BTreeSet<&str> = root.get_subcommands().map(Command::get_name).collect();
        assert_eq!(unique, known);
        assert_eq!(unique.len(), grouped.len());
    }

    #[test]
    fn help_texts_are_short_and_have_no_full_stop() {
        for command in all() {
            let name = command.get_name().to_owned();
            let of_args = command
                .get_arguments()
                .filter(|arg| !arg.is_hide_set())
                .filter_map(Arg::get_help);
            for help in of_args.chain(command.get_about()).map(ToString::to_string) {
                assert!(help.chars().count() <= HELP_MAX, "{name}: {help}");
                assert!(!help.ends_with('.') && !help.is_empty(), "{name}: {help}");
                assert!(help.starts_with(char::is_uppercase), "{name}: {help}");
            }
        }
    }

    #[test]
    fn short_help_fits_a_screen() {
        for mut command in all().into_iter().skip(1) {
            let help = command.clone().term_width(80).render_help().to_string();
            let lines = help.lines().count();
            assert!(
                lines <= SCREEN,
                "{}: {lines} lines\n{help}",
                command.render_usage()
            );
        }
    }

    #[test]
    fn every_command_has_an_example_that_parses() {
        for root in command().get_subcommands() {
            assert!(!examples(root.get_name()).is_empty(), "{}", root.get_name());
        }
        for (typed, does) in FIRST.iter().chain(EXAMPLES) {
            assert!(!does.ends_with('.'), "{does}");
            let own = typed.split(['|', '>']).next().unwrap();
            command()
                .try_get_matches_from(words(own))
                .unwrap_or_else(|error| panic!("{typed}: {error}"));
        }
    }

    #[test]
    fn every_command_of_the_documentation_parses() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let mut pages = vec![root.join("README.md")];
        pages.extend(
            std::fs::read_dir(root.join("docs"))
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
        let mut parsed = 0;
        for page in pages
            .iter()
            .filter(|page| page.extension().is_some_and(|end| end == "md"))
        {
            for line in shell_lines(&std::fs::read_to_string(page).unwrap()) {
                let line = line.split(" #").next().unwrap();
                let own = line.split(['|', '>', '&']).next().unwrap();
                let own = own.replace("RUN_A", "RUN").replace("RUN_B", "RUN");
                let own = own
                    .replace("RUN", "20260102-030405-0001")
                    .replace("LABEL", "box-1");
                command()
                    .try_get_matches_from(words(&own.replace("NAME", "aws")))
                    .unwrap_or_else(|error| panic!("{}: {line}: {error}", page.display()));
                parsed += 1;
            }
        }
        assert!(parsed > 30, "{parsed}");
    }

    /// Returns the lines of a page's shell blocks that call twolane.
    fn shell_lines(text: &str) -> Vec<&str> {
        let blocks = text.split("\n```sh\n").skip(1);
        blocks
            .flat_map(|block| block.split("\n```").next().unwrap_or_default().lines())
            .filter(|line| line.starts_with("twolane "))
            .collect()
    }

    /// Splits as a shell does, as far as the examples need.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut is_quoted = false;
        for c in line.trim().chars() {
            match c {
                '\'' | '"' => is_quoted = !is_quoted,
                ' ' if !is_quoted => words.push(String::new()),
                c => words.last_mut().unwrap().push(c),
            }
        }
        words.retain(|word| !word.is_empty());
        words
    }
}
