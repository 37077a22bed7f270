//! Bash on an adapter's text where it can do nothing but compute, for a bounded time and with bounded output.
//! What is asked of it, and what its answers mean, is `check.rs`'s business.
//!
//! The kernel keeps it from all else: see `confine.rs`. Where the kernel is too old for that, what is left is bash's own restricted
//! mode with a `PATH` that leads nowhere. Its environment holds no secret in either case.

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use camino::Utf8Path;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::confine::spawn;

/// How much of each output is kept.
const OUTPUT_MAX: u64 = 256 * 1024;

/// How often it is looked whether bash has ended.
const PAUSE: Duration = Duration::from_millis(2);

/// How bash ended, and what it said.
pub(crate) struct Said {
    /// None: it was killed at its time limit.
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What an adapter's text did when it was read.
pub(crate) struct Reading {
    pub(crate) said: Said,
    /// The functions that it defines; none when it was not read to its end.
    pub(crate) functions: Option<Vec<String>>,
    /// What it wrote to standard output.
    pub(crate) printed: String,
    /// What bash complained about.
    pub(crate) complaints: Vec<String>,
}

/// One check of one text, which has so much time for all that is asked.
pub(crate) struct Dry<'a> {
    pub(crate) bash: &'a Utf8Path,
    pub(crate) text: &'a str,
    time_max: Duration,
    end: Instant,
}

impl<'a> Dry<'a> {
    /// Begins to count the time.
    pub(crate) fn new(bash: &'a Utf8Path, text: &'a str, time_max: Duration) -> Self {
        let end = Instant::now() + time_max;
        Self {
            bash,
            text,
            time_max,
            end,
        }
    }

    /// Returns whether the time is over.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    /// Says that it is.
    pub(crate) fn too_long(&self) -> String {
        format!("has not ended within {} s", self.time_max.as_secs())
    }

    /// Returns what `bash -n` complains about.
    pub(crate) fn syntax(&self) -> io::Result<Vec<String>> {
        self.run(bare(self.bash).arg("-n")).map(|said| said.complaints())
    }

    /// Reads the text and lists its functions.
    pub(crate) fn read(&self) -> io::Result<Reading> {
        let script = [START, ASK].concat();
        self.run(bare(self.bash).args(["-c", &script, "twolane"]))
            .map(understand)
    }

    /// Calls a function of a text that passed [`Dry::read`]. Of the user's variables only those are there that name places and
    /// sizes: see [`is_shown`].
    pub(crate) fn call(&self, function: &str) -> io::Result<Said> {
        let script = [START, "\"$1\""].concat();
        let shown = std::env::vars_os().filter(|(name, _)| is_shown(&name.to_string_lossy()));
        self.run(
            bare(self.bash)
                .envs(shown)
                .args(["-c", &script, "twolane", function]),
        )
    }

    fn run(&self, command: &mut Command) -> io::Result<Said> {
        let child = file_of(self.text).and_then(|text| spawn(piped(command, text), self.bash))?;
        to_end(child, self.end)
    }
}

impl Said {
    /// Returns what bash complained about, each with its line.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let lines = self.stderr.lines();
        lines
            .filter(|line| !line.ends_with(NO_FORK))
            .map(|line| line.strip_prefix("twolane: ").unwrap_or(line).to_owned())
            .collect()
    }
}

/// Returns whether a default may depend on a variable: one that says where or how big, and holds no secret.
fn is_shown(name: &str) -> bool {
    const ENDS: [&str; 8] = [
        "REGION", "ZONE", "LOCATION", "SITE", "TYPE", "SIZE", "PLAN", "FLAVOR",
    ];
    ENDS.iter().any(|end| name.ends_with(end)) && !is_for_bash(name)
}

/// Returns whether a variable changes what bash itself does.
pub(crate) fn is_for_bash(name: &str) -> bool {
    const NAMES: [&str; 7] = [
        "ENV",
        "SHELLOPTS",
        "POSIXLY_CORRECT",
        "PS4",
        "IFS",
        "CDPATH",
        "GLOBIGNORE",
    ];
    name.starts_with("BASH") || NAMES.contains(&name)
}

/// The text is on standard input, which the adapter finds at its end. All in one line: that of the text's first is 1. With 254 ends
/// a bash that may not fork; where it was is known only before.
const START: &str = "readonly PATH=/dev/null; IFS= read -r -d '' _tl_text; { ulimit -c 0; ulimit -v 1000000; ulimit -n 64; } \
                     2>/dev/null; _tl_end=$'\\n' _tl_at=; trap '[[ $? != 254 ]] || builtin echo \"line $_tl_at\" >&2' EXIT; \
                     set -rT; trap '[[ $BASH_COMMAND == *_tl_* ]] || \
                     _tl_at=\"$LINENO: \\`${BASH_COMMAND%%$_tl_end*}\\` would run something\"' DEBUG; eval \"$_tl_text\"; ";

/// What bash says then; the line after it says more.
const NO_FORK: &str = "fork: Operation not permitted";

/// In POSIX mode a special builtin such as `unset` is found before a function of its name.
const ASK: &str = "POSIXLY_CORRECT=1; unset -f builtin declare printf; builtin printf '%s\\n' _tl_; builtin declare -F; \
                   builtin printf _tl_";

/// Returns a bash that reads no file of the user's and has no variables.
fn bare(bash: &Utf8Path) -> Command {
    let mut command = Command::new(bash);
    command
        .arg0("twolane")
        .env_clear()
        .env("LC_ALL", "C")
        .args(["--noprofile", "--norc"]);
    command
}

/// Returns what a bash says of its version.
pub(crate) fn version(bash: &Utf8Path, time_max: Duration) -> io::Result<String> {
    let mut command = bare(bash);
    let child = piped(command.arg("--version"), Stdio::null()).spawn()?;
    to_end(child, Instant::now() + time_max).map(|said| said.stdout)
}

fn piped(command: &mut Command, input: impl Into<Stdio>) -> &mut Command {
    command
        .stdin(input)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
}

/// Waits for a command's end, or kills it with all that it started when the time is over.
fn to_end(mut child: Child, end: Instant) -> io::Result<Said> {
    let stdout = thread::spawn(kept(child.stdout.take()));
    let stderr = thread::spawn(kept(child.stderr.take()));
    let group = Pid::from_child(&child);
    let looks = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let mut is_in_time = true;
    while is_in_time && matches!(waitid(WaitId::Pid(group), looks), Ok(None)) {
        is_in_time = Instant::now() < end;
        thread::sleep(PAUSE);
    }
    // Bash itself is not waited for yet, so that the group is still its own.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait()?;
    let text = |thread: thread::JoinHandle<Vec<u8>>| {
        String::from_utf8_lossy(&thread.join().unwrap_or_default()).into_owned()
    };
    Ok(Said {
        status: is_in_time.then_some(status),
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

/// Returns a file that holds a text, and that nobody else can find.
fn file_of(text: &str) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// Reads a pipe to its end, and keeps the beginning.
fn kept(pipe: Option<impl Read + Send + 'static>) -> impl FnOnce() -> Vec<u8> + Send + 'static {
    move || {
        let mut kept = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.by_ref().take(OUTPUT_MAX).read_to_end(&mut kept);
            let _ = io::copy(&mut pipe, &mut io::sink());
        }
        kept
    }
}

fn understand(said: Said) -> Reading {
    let (printed, answer) = said.stdout.split_once("_tl_\n").unwrap_or((&said.stdout, ""));
    let declared = |answer: &str| {
        let names = answer.lines().filter_map(|line| line.split_whitespace().last());
        names.map(str::to_owned).collect()
    };
    Reading {
        functions: answer.strip_suffix("_tl_").map(declared),
        printed: printed.to_owned(),
        complaints: said.complaints(),
        said,
    }
}
