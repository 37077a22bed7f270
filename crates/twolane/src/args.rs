//! The command line as it is typed.

use std::time::Duration;

use camino::Utf8PathBuf;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use model::{
    name::{Label, RunId},
    tags::OwnerIs,
    time::parse_length,
};

/// Runs both halves of a test suite, each in a box of its own: the half that needs /dev/kvm, and the half that does not.
///
/// Exit codes: 0 all passed; 1 a check failed; 2 wrong usage or configuration, nothing was created; 3 the infrastructure
/// failed and everything created was destroyed; 4 something could not be destroyed; 130 interrupted, everything destroyed.
#[derive(Debug, Parser)]
#[command(name = "twolane", version, max_term_width = 100, infer_subcommands = false)]
pub(crate) struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What is to be done.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print JSON: one document, or one event a line where it takes long
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Report more; twice: still more
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
    /// Report only problems and results
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    pub(crate) quiet: bool,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    pub(crate) color: Color,
    /// Where the journal, the keys and the runs are kept [default: $XDG_STATE_HOME/twolane]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "TWOLANE_STATE_DIR",
        hide_env = true,
        help_heading = "Global options"
    )]
    pub(crate) state_dir: Option<Utf8PathBuf>,
    /// Work in this directory
    #[arg(
        short = 'C',
        long,
        global = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub(crate) directory: Option<Utf8PathBuf>,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What is to be done.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented twolane.toml for this workspace
    Init(InitArgs),
    /// Show what would run where, and what it could cost; works offline
    Plan(RunArgs),
    /// Say whether a run could work: tools, keys, KVM
    Doctor(DoctorArgs),
    /// Run the lanes, each in a box that is gone at the end
    Run(RunArgs),
    /// Take up a run whose client died, while its boxes live
    Attach(AttachArgs),
    /// Bring up a lane's box, which stays until its deadline
    Up(UpArgs),
    /// Copy the source to a box, and build, install and start what has changed
    Deploy(DeployArgs),
    /// Copy the source to a box and run its lane's checks
    Test(TestArgs),
    /// Run the smoke script on a box that is deployed
    Smoke(LabelArgs),
    /// Bring results back from a box
    Fetch(LabelArgs),
    /// Destroy a box, or all of them, and confirm that it is gone
    Down(DownArgs),
    /// Destroy what is overdue or was left, on every provider; its last line is for a monitoring system
    Reap(ReapArgs),
    /// List the boxes
    Ls,
    /// Log in to a box, or run a command on it
    Ssh(SshArgs),
    /// Show the console, the cloud-init log or a check's output of a box
    Logs(LogsArgs),
    /// Move a box's deadline
    Extend(ExtendArgs),
    /// Print exactly what would be sent to a box
    Render(RenderArgs),
    /// List the providers and what each can do or the cheapest boxes with KVM, or check a shell adapter
    Providers(ProvidersArgs),
    /// Run one full cycle on a provider, and add what it showed to the verification matrix
    Verify(VerifyArgs),
    /// Show the verification matrix: what was shown on which provider
    Matrix(MatrixArgs),
    /// Find out which tests ask for /dev/kvm, which pass without it, and propose the two halves
    Split(SplitArgs),
    /// Show what a run did
    Report(ReportArgs),
    /// Print shell completions
    Completions(CompletionsArgs),
    /// Print the manual page of twolane or of one of its commands
    Man(ManArgs),
}

/// Which box a lane gets, where that differs from twolane.toml. As typed: the plan says what is wrong, all at once.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Box options")]
pub(crate) struct BoxArgs {
    /// Who provisions the box
    #[arg(long, env = "PROVIDER", value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Where, in the provider's own word
    #[arg(long, env = "REGION")]
    pub(crate) region: Option<String>,
    /// A machine that is already there, over SSH: stands for --provider host --region ADDRESS
    #[arg(long, value_name = "[USER@]MACHINE[:PORT]")]
    pub(crate) host: Option<String>,
    /// Do without root on a machine that is already there
    #[arg(long, hide = true)]
    pub(crate) as_user: bool,
    /// How big, in the provider's own word
    #[arg(long, env = "INSTANCE_TYPE", value_name = "TYPE")]
    pub(crate) instance_type: Option<String>,
    /// The box's name; with one lane only
    #[arg(long, env = "LABEL")]
    pub(crate) label: Option<String>,
    /// Size of the root disk, in GiB
    #[arg(long, env = "BOOT_DISK_SIZE", value_name = "GIB")]
    pub(crate) disk: Option<String>,
    /// Your public key, or its file: plain `ssh mvm@ADDRESS` works with it then
    #[arg(long, env = "SSH_PUBKEY", value_name = "KEY|FILE")]
    pub(crate) ssh_pubkey: Option<String>,
    /// Who may reach the box over SSH; may be repeated [default: this machine, by its address on the Internet]
    #[arg(long, env = "TWOLANE_ALLOW_CIDR", value_name = "CIDR", value_delimiter = ',')]
    pub(crate) allow_cidr: Vec<String>,
    /// Boot a local box by itself, also where it could go on from a template
    #[arg(long)]
    pub(crate) cold: bool,
    /// How long the box may live, such as 90m
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<String>,
    /// What all boxes together may cost until their deadlines, such as '5 USD'; what could cost more is refused
    #[arg(long, env = "TWOLANE_MAX_COST", value_name = "AMOUNT")]
    pub(crate) max_cost: Option<String>,
}

/// `twolane run` and `twolane plan`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The lanes [default: all]
    #[arg(value_name = "LANE")]
    pub(crate) lanes: Vec<String>,
    /// Go on with a lane after a check that failed
    #[arg(long = "continue")]
    pub(crate) is_continued: bool,
    /// Keep the box of a lane that did not pass, for so long
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30m")]
    pub(crate) keep: Option<String>,
    /// Which boxes.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// `twolane init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// What to start from
    #[arg(long, default_value = "rust")]
    pub(crate) preset: Preset,
    /// Write a scheduled job that runs `twolane reap` in this CI system, and no twolane.toml
    #[arg(long, value_name = "SYSTEM", conflicts_with = "preset")]
    pub(crate) ci: Option<CiSystem>,
    /// Overwrite what is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// A CI system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CiSystem {
    /// GitHub Actions
    Github,
    /// GitLab CI
    Gitlab,
}

/// What `init` starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Preset {
    /// Any Rust workspace
    Rust,
    /// The mvm and mvmd workspaces, side by side
    Mvm,
}

/// `twolane doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Look at this provider only
    #[arg(long, env = "PROVIDER", value_name = "NAME")]
    pub(crate) provider: Option<String>,
}

/// `twolane attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// The run's id, as `twolane ls` shows it
    pub(crate) run: RunId,
}

/// `twolane up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// The lane [default: the only one]
    pub(crate) lane: Option<String>,
    /// Which box.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// `twolane deploy`.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// The box
    pub(crate) label: Label,
    /// Make a new HMAC secret, and restart what uses it
    #[arg(long)]
    pub(crate) rotate_secret: bool,
}

/// `twolane test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The box
    pub(crate) label: Label,
    /// The checks, by name [default: all of the lane]
    #[arg(value_name = "CHECK")]
    pub(crate) checks: Vec<String>,
    /// Go on after a check that failed
    #[arg(long = "continue")]
    pub(crate) is_continued: bool,
}

/// A command about one box.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// The box
    pub(crate) label: Label,
}

/// `twolane down`.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// The box
    #[arg(env = "LABEL", required_unless_present = "all")]
    pub(crate) label: Option<Label>,
    /// Destroy every box that was made from this machine
    #[arg(long)]
    pub(crate) all: bool,
}

/// `twolane reap`.
#[derive(Debug, Args)]
pub(crate) struct ReapArgs {
    /// Only show what would be destroyed, and why
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Only boxes of this owner: repository, ref, user or host, such as user=eve; all of them, if there are several
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) owner: Vec<OwnerIs>,
    /// Only at this provider
    #[arg(long, env = "PROVIDER", value_name = "NAME")]
    pub(crate) provider: Option<String>,
}

/// `twolane ssh`.
#[derive(Debug, Args)]
pub(crate) struct SshArgs {
    /// The box
    pub(crate) label: Label,
    /// Log in as this user
    #[arg(short, long, default_value = "mvm")]
    pub(crate) user: String,
    /// A command in place of a shell; the rest of the line is its arguments
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// `twolane logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// The box
    pub(crate) label: Label,
    /// Which log.
    #[command(flatten)]
    pub(crate) which: WhichLog,
    /// Go on as the log grows, until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// Which log of a box.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct WhichLog {
    /// The serial console
    #[arg(long)]
    pub(crate) console: bool,
    /// What cloud-init wrote [default]
    #[arg(long)]
    pub(crate) cloud_init: bool,
    /// What a check wrote
    #[arg(long, value_name = "NAME")]
    pub(crate) check: Option<String>,
    /// What a systemd unit wrote, such as mvmd-agent
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Option<String>,
}

/// `twolane extend`.
#[derive(Debug, Args)]
pub(crate) struct ExtendArgs {
    /// The box
    pub(crate) label: Label,
    /// How far.
    #[command(flatten)]
    pub(crate) how: HowFar,
}

/// How far a deadline is moved.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct HowFar {
    /// By so much, such as 30m
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) by: Option<Duration>,
    /// To this moment, such as 2026-11-23T18:00:00Z
    #[arg(long, value_name = "MOMENT")]
    pub(crate) to: Option<model::time::Timestamp>,
}

/// `twolane render`.
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// What to print
    pub(crate) what: Rendered,
    /// For this lane [default: the first]
    pub(crate) lane: Option<String>,
    /// Which box.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// `twolane providers`.
#[derive(Debug, Args)]
pub(crate) struct ProvidersArgs {
    /// What to do in place of listing them.
    #[command(subcommand)]
    pub(crate) command: Option<ProvidersCommand>,
    /// List the boxes whose /dev/kvm works, cheapest first, over all providers
    #[arg(long)]
    pub(crate) kvm: bool,
    /// Only those whose hour costs no more: `0.20` in any currency, or `"0.20 EUR"`
    #[arg(long, value_name = "AMOUNT", requires = "kvm")]
    pub(crate) max_price: Option<String>,
    /// Only those of this architecture
    #[arg(long, value_name = "ARCH", requires = "kvm", value_parser = ["x86_64", "aarch64"])]
    pub(crate) arch: Option<String>,
}

/// What `twolane providers` does in place of listing them.
#[derive(Debug, Subcommand)]
pub(crate) enum ProvidersCommand {
    /// Report all that is wrong with a shell adapter; runs nothing of it
    Check {
        /// The adapter, such as providers/acme.sh
        file: Utf8PathBuf,
    },
}

/// `twolane verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The lane [default: the first that deploys; else the first that needs KVM; else the first]
    pub(crate) lane: Option<String>,
    /// Where the matrix is kept.
    #[command(flatten)]
    pub(crate) matrix: MatrixFile,
    /// Which box.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// `twolane matrix`.
#[derive(Debug, Args)]
pub(crate) struct MatrixArgs {
    /// Where it is kept.
    #[command(flatten)]
    pub(crate) file: MatrixFile,
    /// How to print it; --json is the same as `json`
    #[arg(long, default_value = "text")]
    pub(crate) format: MatrixFormat,
}

/// Where the matrix is kept.
#[derive(Debug, Args)]
pub(crate) struct MatrixFile {
    /// The file of the matrix, from the project's directory
    #[arg(long = "matrix", value_name = "FILE", default_value = "docs/matrix.json")]
    pub(crate) path: Utf8PathBuf,
}

/// How `matrix` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatrixFormat {
    /// For a terminal
    Text,
    /// For a README
    Markdown,
    /// One page that needs nothing beside it
    Html,
    /// The records, with all evidence
    Json,
}

/// What `render` prints.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Rendered {
    /// The user-data, with a stand-in for the host key
    CloudInit,
    /// The script that writes stage 2's files on the box; the secret is made there
    PostDeploy,
    /// The daemons' configuration, with stand-ins for what is made on the box
    Configs,
}

/// `twolane split`.
#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// The lanes [default: all]
    #[arg(value_name = "LANE")]
    pub(crate) lanes: Vec<String>,
    /// Judge a run that is over, and make no box
    #[arg(long, value_name = "RUN", conflicts_with_all = ["lanes", "suite"])]
    pub(crate) from: Option<RunId>,
    /// Write the tests that no lane really ran into the project's baseline
    #[arg(long)]
    pub(crate) write_baseline: bool,
    /// Which boxes.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
    /// What selects the tests, for cargo and cargo-nextest alike [default: --workspace]
    #[arg(last = true, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) suite: Vec<String>,
}

/// `twolane report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// The run's id [default: the last one]
    pub(crate) run: Option<RunId>,
    /// How to print it; --json is the same as `json`
    #[arg(long, default_value = "text")]
    pub(crate) format: Format,
    /// List the runs that are kept
    #[arg(long, conflicts_with = "run")]
    pub(crate) list: bool,
    /// Report what changed from run A to run B, and what got slower
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["run", "list"])]
    pub(crate) compare: Option<Vec<RunId>>,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// A page for a browser
    Html,
    /// For CI systems
    Junit,
    /// For a comment or a summary
    Markdown,
    /// Every resource that the run made, and when its provider said that it is gone; JSON
    Receipt,
}

/// `twolane completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

/// `twolane man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command [default: twolane itself]
    pub(crate) command: Option<String>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) dir: Option<Utf8PathBuf>,
}

fn length(text: &str) -> Result<Duration, String> {
    parse_length(text).ok_or_else(|| "write a time such as 90s, 20m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }
}
