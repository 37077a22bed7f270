//! The command line, as clap reads it. Help texts are imperative, without a full stop, and at most 80 columns long.

use std::{collections::BTreeSet, time::Duration};

use camino::Utf8PathBuf;
use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use model::{
    limits::parse_bytes,
    name::{Label, RunId},
    tags::OwnerIs,
    time::parse_length,
};

/// Run both halves of a test suite in disposable boxes, with and without /dev/kvm
#[derive(Debug, Parser)]
#[command(name = "twolane", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub(crate) global: Global,
    /// The command.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Print JSON: one document, or one event per line
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// Increase verbosity (repeat for more)
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Global options")]
    pub(crate) verbose: u8,
    /// Print only problems and results
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    pub(crate) quiet: bool,
    /// Use colours: auto, always or never
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "WHEN",
        default_value = "auto",
        help_heading = "Global options"
    )]
    pub(crate) color: Color,
    /// Keep journal, keys and runs in DIR [default: $XDG_STATE_HOME/twolane]
    #[arg(
        long,
        global = true,
        hide_short_help = true,
        value_name = "DIR",
        env = "TWOLANE_STATE_DIR",
        hide_env = true,
        help_heading = "Global options"
    )]
    pub(crate) state_dir: Option<Utf8PathBuf>,
    /// Change to DIR first
    #[arg(
        short = 'C',
        long,
        global = true,
        hide_short_help = true,
        value_name = "DIR",
        help_heading = "Global options"
    )]
    pub(crate) directory: Option<Utf8PathBuf>,
    /// The options whose values are the environment's.
    #[arg(skip)]
    pub(crate) of_environment: BTreeSet<String>,
}

/// `--color`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a commented twolane.toml, or CI jobs
    Init(InitArgs),
    /// Show what would run where, and its cost (offline)
    Plan(RunArgs),
    /// Check tools, credentials, quotas and KVM
    Doctor(DoctorArgs),
    /// Run lanes in disposable boxes
    Run(RunArgs),
    /// Resume a run after its client died
    Attach(AttachArgs),
    /// Bring up a lane's box, and leave it until its deadline
    Up(UpArgs),
    /// Sync sources to a box; build, install and start daemons
    Deploy(DeployArgs),
    /// Sync sources to a box and run its checks
    Test(TestArgs),
    /// Run the smoke script on a deployed box
    Smoke(LabelArgs),
    /// Collect results from a box
    Fetch(LabelArgs),
    /// Destroy boxes and confirm that they are gone
    Down(DownArgs),
    /// Destroy expired and orphaned boxes at every provider
    Reap(ReapArgs),
    /// List boxes
    Ls,
    /// Log in to a box, or run a command on it, in the project's directory
    Ssh(SshArgs),
    /// Show a box's console, cloud-init, unit or check log
    Logs(LogsArgs),
    /// Move a box's deadline
    Extend(ExtendArgs),
    /// Print what would be sent to a box
    Render(RenderArgs),
    /// List providers, find cheap KVM, or check an adapter
    Providers(ProvidersArgs),
    /// Run one full cycle on a provider and record the evidence
    Verify(VerifyArgs),
    /// Show which providers have been verified
    Matrix(MatrixArgs),
    /// Serve CI jobs on disposable boxes, as a runner of GitHub Actions
    Runner(RunnerArgs),
    /// Find tests that skip silently without /dev/kvm
    Split(SplitArgs),
    /// Show the report of a run, list or compare runs
    Report(ReportArgs),
    /// List or delete base images, toolchains and templates
    Cache(CacheArgs),
    /// Print shell completions
    Completions(CompletionsArgs),
    /// Print a manual page
    Man(ManArgs),
}

/// Overrides of twolane.toml for the box. Kept as text: the plan checks them all at once.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Box options")]
pub(crate) struct BoxArgs {
    /// Provider
    #[arg(long, env = "TWOLANE_PROVIDER", hide_env_values = true, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Provider region
    #[arg(long, env = "TWOLANE_REGION", hide_env_values = true)]
    pub(crate) region: Option<String>,
    /// Use an existing machine over SSH (provider `host`)
    #[arg(long, value_name = "[USER@]MACHINE[:PORT]", hide_short_help = true)]
    pub(crate) host: Option<String>,
    /// Use no root on an existing machine
    #[arg(long, hide = true)]
    pub(crate) as_user: bool,
    /// Instance type
    #[arg(
        long,
        env = "TWOLANE_INSTANCE_TYPE",
        hide_env_values = true,
        value_name = "TYPE"
    )]
    pub(crate) instance_type: Option<String>,
    /// Name of the box (one lane)
    #[arg(long, env = "TWOLANE_LABEL", hide_env_values = true)]
    pub(crate) label: Option<String>,
    /// Root disk size in GiB
    #[arg(
        long,
        env = "TWOLANE_DISK",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "GIB"
    )]
    pub(crate) disk: Option<String>,
    /// Let this public key log in too, as the user of the checks
    #[arg(
        long,
        env = "TWOLANE_SSH_PUBKEY",
        // A private key begins with hyphens: taken for options it would be shown.
        allow_hyphen_values = true,
        hide_env_values = true,
        hide_short_help = true,
        value_name = "KEY|FILE"
    )]
    pub(crate) ssh_pubkey: Option<String>,
    /// Allow SSH from this range (repeatable) [default: this machine only]
    #[arg(
        long,
        env = "TWOLANE_ALLOW_CIDR",
        hide_env_values = true,
        hide_short_help = true,
        value_name = "CIDR",
        value_delimiter = ','
    )]
    pub(crate) allow_cidr: Vec<String>,
    /// Boot a local box cold instead of from a template
    #[arg(long, hide_short_help = true)]
    pub(crate) cold: bool,
    /// Destroy the box after TIME, such as 90m
    #[arg(long, value_name = "TIME")]
    pub(crate) ttl: Option<String>,
    /// Refuse a run that could cost more, such as '5 USD'
    ///
    /// Prices in other currencies need amounts of their own: '5 USD, 5 EUR'.
    #[arg(long, env = "TWOLANE_MAX_COST", hide_env = true, value_name = "AMOUNT")]
    pub(crate) max_cost: Option<String>,
}

/// `twolane run` and `twolane plan`.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Lanes to run [default: all]
    #[arg(value_name = "LANE")]
    pub(crate) lanes: Vec<String>,
    /// Continue a lane after a failed check
    #[arg(long = "continue")]
    pub(crate) is_continued: bool,
    /// Keep failed boxes for TIME [default without TIME: 30m]
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true, default_missing_value = "30m")]
    pub(crate) keep: Option<String>,
    /// Share each lane's tests over N boxes [default: `boxes-at-once`]
    #[arg(long = "boxes", value_name = "N", hide_short_help = true)]
    pub(crate) count: Option<String>,
    /// Box options.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// `twolane init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Start from this preset
    #[arg(long, default_value = "rust")]
    pub(crate) preset: Preset,
    /// Write jobs for this CI system instead of twolane.toml
    #[arg(long, value_name = "SYSTEM", conflicts_with = "preset")]
    pub(crate) ci: Option<CiSystem>,
    /// Overwrite existing files
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
    /// Buildkite
    Buildkite,
}

/// Presets of `init`.
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
    /// Check this provider only
    #[arg(long, env = "TWOLANE_PROVIDER", hide_env_values = true, value_name = "NAME")]
    pub(crate) provider: Option<String>,
}

/// `twolane attach`.
#[derive(Debug, Args)]
pub(crate) struct AttachArgs {
    /// Run ID, as `twolane ls` prints it
    pub(crate) run: RunId,
}

/// `twolane up`.
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Lane [default: the only one]
    pub(crate) lane: Option<String>,
    /// Box options.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// `twolane deploy`.
#[derive(Debug, Args)]
pub(crate) struct DeployArgs {
    /// Label of the box
    pub(crate) label: Label,
    /// Generate a new HMAC secret and restart the daemons that use it
    #[arg(long)]
    pub(crate) rotate_secret: bool,
}

/// `twolane test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Label of the box [default: the only one]
    #[arg(value_name = "LABEL")]
    pub(crate) first: Option<String>,
    /// Checks to run, by name [default: all of the lane]
    #[arg(value_name = "CHECK")]
    pub(crate) checks: Vec<String>,
    /// Run only what did not pass last time
    #[arg(long, conflicts_with = "filters")]
    pub(crate) failed: bool,
    /// Run again whenever a file changes that is sent to the box
    #[arg(short = 'w', long = "watch")]
    pub(crate) is_watching: bool,
    /// Continue after a failed check
    #[arg(long = "continue")]
    pub(crate) is_continued: bool,
    /// Run only tests whose name contains one of these
    #[arg(last = true, value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
}

/// A command about one box.
#[derive(Debug, Args)]
pub(crate) struct LabelArgs {
    /// Label of the box
    pub(crate) label: Label,
}

/// `twolane down`.
#[derive(Debug, Args)]
pub(crate) struct DownArgs {
    /// Label of the box
    #[arg(required_unless_present = "all")]
    pub(crate) label: Option<Label>,
    /// Destroy every box made from this machine
    #[arg(long)]
    pub(crate) all: bool,
}

/// `twolane reap`.
#[derive(Debug, Args)]
pub(crate) struct ReapArgs {
    /// Show what would be destroyed, and why; destroy nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Reap only boxes of this owner, such as user=eve (repeatable)
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) owner: Vec<OwnerIs>,
    /// Reap at this provider only
    #[arg(long, env = "TWOLANE_PROVIDER", hide_env_values = true, value_name = "NAME")]
    pub(crate) provider: Option<String>,
}

/// `twolane ssh`.
#[derive(Debug, Args)]
pub(crate) struct SshArgs {
    /// Label of the box
    pub(crate) label: Label,
    /// Log in as this user instead of the one who runs the checks
    #[arg(short, long)]
    pub(crate) user: Option<String>,
    /// Run this command instead of a shell
    #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// `twolane logs`.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// Label of the box
    pub(crate) label: Label,
    /// The log.
    #[command(flatten)]
    pub(crate) which: WhichLog,
    /// Follow the log until interrupted
    #[arg(short, long)]
    pub(crate) follow: bool,
}

/// Logs of a box.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct WhichLog {
    /// Show the serial console
    #[arg(long)]
    pub(crate) console: bool,
    /// Show cloud-init's output [default]
    #[arg(long)]
    pub(crate) cloud_init: bool,
    /// Show a check's output
    #[arg(long, value_name = "NAME")]
    pub(crate) check: Option<String>,
    /// Show the journal of a systemd unit, such as mvmd-agent
    #[arg(long, value_name = "UNIT")]
    pub(crate) unit: Option<String>,
}

/// `twolane extend`.
#[derive(Debug, Args)]
pub(crate) struct ExtendArgs {
    /// Label of the box
    pub(crate) label: Label,
    /// The new deadline.
    #[command(flatten)]
    pub(crate) how: HowFar,
}

/// The new deadline.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct HowFar {
    /// Extend the deadline by TIME, such as 30m
    #[arg(long, value_name = "TIME", value_parser = length)]
    pub(crate) by: Option<Duration>,
    /// Set the deadline to MOMENT, such as 2026-11-23T18:00:00Z
    #[arg(long, value_name = "MOMENT")]
    pub(crate) to: Option<model::time::Timestamp>,
}

/// `twolane render`.
#[derive(Debug, Args)]
pub(crate) struct RenderArgs {
    /// What to print
    pub(crate) what: Rendered,
    /// Lane [default: the first]
    pub(crate) lane: Option<String>,
    /// Box options.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// `twolane providers`.
#[derive(Debug, Args)]
pub(crate) struct ProvidersArgs {
    /// Subcommand; without one the providers are listed.
    #[command(subcommand)]
    pub(crate) command: Option<ProvidersCommand>,
    /// List instance types with a working /dev/kvm, cheapest first
    #[arg(long)]
    pub(crate) kvm: bool,
    /// List only types up to this price an hour: 0.20, or '0.20 EUR'
    #[arg(long, value_name = "AMOUNT", requires = "kvm")]
    pub(crate) max_price: Option<String>,
    /// List only types of this architecture
    #[arg(long, value_name = "ARCH", requires = "kvm", value_parser = ["x86_64", "aarch64"])]
    pub(crate) arch: Option<String>,
}

/// Subcommands of `twolane providers`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProvidersCommand {
    /// Check a shell adapter without running it
    Check {
        /// Adapter file, such as providers/acme.sh
        file: Utf8PathBuf,
    },
    /// Print what a cloud's credentials have to permit
    Permissions {
        /// Cloud, such as aws
        cloud: String,
    },
}

/// `twolane cache`.
#[derive(Debug, Args)]
pub(crate) struct CacheArgs {
    /// Subcommand.
    #[command(subcommand)]
    pub(crate) command: CacheCommand,
}

/// Subcommands of `twolane cache`.
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// List what is there, its size, last use and who uses it now
    Ls,
    /// Delete what nobody uses now and nobody used for 30 days
    Prune(PruneArgs),
}

/// `twolane cache prune`.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Delete what was not used for TIME
    #[arg(long, value_name = "TIME", value_parser = age, default_value = "30d")]
    pub(crate) older: Duration,
    /// Delete everything that is not in use
    #[arg(long, conflicts_with = "older")]
    pub(crate) all: bool,
    /// Delete what was unused for longest, until SIZE is left
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with_all = ["older", "all"])]
    pub(crate) max: Option<u64>,
}

/// `twolane verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Lane [default: the first that deploys, or needs KVM]
    pub(crate) lane: Option<String>,
    /// Make the box without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// File of the matrix.
    #[command(flatten)]
    pub(crate) matrix: MatrixFile,
    /// Box options.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// `twolane matrix`.
#[derive(Debug, Args)]
pub(crate) struct MatrixArgs {
    /// File of the matrix.
    #[command(flatten)]
    pub(crate) file: MatrixFile,
    /// Output format (--json means json)
    #[arg(long, default_value = "text")]
    pub(crate) format: MatrixFormat,
}

/// File of the matrix.
#[derive(Debug, Args)]
pub(crate) struct MatrixFile {
    /// Matrix file of the project
    #[arg(long = "matrix", value_name = "FILE", default_value = "docs/matrix.json")]
    pub(crate) path: Utf8PathBuf,
}

/// Formats of `matrix`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum MatrixFormat {
    /// For a terminal
    Text,
    /// For a README
    Markdown,
    /// Self-contained page
    Html,
    /// Records with all evidence
    Json,
}

/// What `render` prints.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Rendered {
    /// User-data, with a placeholder for the host key
    CloudInit,
    /// Script that deploys on the box (stage 2)
    PostDeploy,
    /// Configuration of the daemons, with placeholders for secrets
    Configs,
}

/// `twolane split`.
#[derive(Debug, Args)]
pub(crate) struct SplitArgs {
    /// Lanes to trace [default: all]
    #[arg(value_name = "LANE")]
    pub(crate) lanes: Vec<String>,
    /// Judge a finished run instead of making boxes
    #[arg(long, value_name = "RUN", hide_short_help = true, conflicts_with_all = ["lanes", "suite"])]
    pub(crate) from: Option<RunId>,
    /// Write tests that no lane really ran into the baseline
    #[arg(long)]
    pub(crate) write_baseline: bool,
    /// Test selection for cargo [default: --workspace]
    #[arg(last = true, value_name = "ARG", allow_hyphen_values = true)]
    pub(crate) suite: Vec<String>,
    /// Box options.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// `twolane report`.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Run ID [default: this project's last run]
    pub(crate) run: Option<RunId>,
    /// Output format (--json means json)
    #[arg(long, default_value = "text")]
    pub(crate) format: Format,
    /// List recorded runs
    #[arg(long, conflicts_with = "run")]
    pub(crate) list: bool,
    /// Compare run A to run B: outcomes and times
    #[arg(long, num_args = 2, value_names = ["A", "B"], conflicts_with_all = ["run", "list"])]
    pub(crate) compare: Option<Vec<RunId>>,
}

/// Formats of `report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs
    Json,
    /// Self-contained page for a browser
    Html,
    /// For CI systems
    Junit,
    /// For a pull request comment or a summary
    Markdown,
    /// Every resource the run made, and when it was gone (JSON)
    Receipt,
}

/// `twolane runner`.
#[derive(Debug, Args)]
pub(crate) struct RunnerArgs {
    /// Subcommand.
    #[command(subcommand)]
    pub(crate) command: RunnerCommand,
}

/// Subcommands of `twolane runner`.
#[derive(Debug, Subcommand)]
pub(crate) enum RunnerCommand {
    /// Be a runner scale set of GitHub Actions
    #[command(override_usage = "twolane runner github --url URL --name NAME --lane LANE --max N [OPTIONS]")]
    Github(Box<GithubArgs>),
    /// Show the runners of this machine, their jobs and boxes
    Status,
}

/// `twolane runner github`.
#[derive(Debug, Args)]
pub(crate) struct GithubArgs {
    /// Organisation, repository or enterprise, such as https://github.com/ORG
    #[arg(long)]
    pub(crate) url: String,
    /// Name of the scale set: jobs ask for it with `runs-on`
    #[arg(long)]
    pub(crate) name: String,
    /// Lane whose boxes run the jobs
    #[arg(long)]
    pub(crate) lane: String,
    /// Where the runner program comes from, and how the service is reached.
    #[command(flatten)]
    pub(crate) service: GithubService,
    /// How many boxes, and for how long.
    #[command(flatten)]
    pub(crate) pool: PoolArgs,
    /// Box options.
    #[command(flatten)]
    pub(crate) boxes: BoxArgs,
}

/// How GitHub is reached, and where its runner program comes from. Secrets are never on the command line.
#[derive(Debug, Args)]
pub(crate) struct GithubService {
    /// Runner group [default: the default group]
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) group: Option<String>,
    /// Further label for `runs-on` (repeatable)
    #[arg(long = "runs-on", value_name = "LABEL", hide_short_help = true)]
    pub(crate) labels: Vec<String>,
    /// Download the runner program [default: the image has /opt/actions-runner]
    #[arg(
        long,
        value_name = "URL:sha256:CHECKSUM",
        env = "TWOLANE_RUNNER_ARCHIVE",
        hide_env = true,
        hide_short_help = true
    )]
    pub(crate) runner_archive: Option<String>,
    /// Client ID of the GitHub App to log in as
    #[arg(
        long,
        value_name = "ID",
        env = "TWOLANE_GITHUB_APP",
        hide_env = true,
        hide_short_help = true
    )]
    pub(crate) app: Option<String>,
    /// Installation of the App
    #[arg(
        long,
        value_name = "ID",
        env = "TWOLANE_GITHUB_INSTALLATION",
        hide_env = true,
        hide_short_help = true,
        requires = "app"
    )]
    pub(crate) installation: Option<i64>,
    /// Private key of the App [default: $TWOLANE_GITHUB_APP_KEY]
    #[arg(
        long,
        value_name = "FILE",
        env = "TWOLANE_GITHUB_APP_KEY_FILE",
        hide_env = true,
        hide_short_help = true,
        requires = "app"
    )]
    pub(crate) app_key_file: Option<Utf8PathBuf>,
    /// Token to log in with instead of an App [default: $TWOLANE_GITHUB_TOKEN]
    #[arg(
        long,
        value_name = "FILE",
        env = "TWOLANE_GITHUB_TOKEN_FILE",
        hide_env = true,
        hide_short_help = true,
        conflicts_with = "app"
    )]
    pub(crate) token_file: Option<Utf8PathBuf>,
}

/// How many boxes a runner has, for how long, and what they may cost.
#[derive(Debug, Args)]
pub(crate) struct PoolArgs {
    /// Boxes at once, at most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) max: u16,
    /// Boxes that exist even without jobs
    #[arg(long, value_name = "N", default_value = "0", hide_short_help = true)]
    pub(crate) warm: u16,
    /// Keep boxes beyond --warm for TIME without a job
    #[arg(long, value_name = "TIME", value_parser = length, default_value = "10m", hide_short_help = true)]
    pub(crate) idle: Duration,
    /// Wait for running jobs for TIME when asked to stop
    #[arg(long, value_name = "TIME", value_parser = length, default_value = "1h", hide_short_help = true)]
    pub(crate) grace: Duration,
    /// Begin no box while all together could cost more an hour
    #[arg(long, value_name = "AMOUNT", hide_short_help = true)]
    pub(crate) max_cost_per_hour: Option<String>,
    /// Begin no box that could take the day's cost (UTC) over this
    #[arg(long, value_name = "AMOUNT", hide_short_help = true)]
    pub(crate) max_cost_per_day: Option<String>,
}

/// `twolane completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Shell
    pub(crate) shell: clap_complete::Shell,
}

/// `twolane man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// Command [default: twolane itself]
    pub(crate) command: Option<String>,
    /// Write all pages into DIR
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) dir: Option<Utf8PathBuf>,
}

fn age(text: &str) -> Result<Duration, String> {
    let days = text.strip_suffix('d').and_then(|days| days.parse::<u32>().ok());
    match days {
        Some(days) => Ok(Duration::from_secs(u64::from(days) * 24 * 3600)),
        None => length(text),
    }
}

fn size(text: &str) -> Result<u64, String> {
    parse_bytes(text).ok_or_else(|| "write a size such as 5GB or 500 MiB".to_owned())
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
