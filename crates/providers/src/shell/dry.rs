//! Bash on an adapter's text in such a way that no program is run, for a bounded time and with bounded output.
//! What is asked of it, and what its answers mean, is `check.rs`'s business.
//!
//! A DEBUG trap in `extdebug` mode has bash skip every command but the definition of a function, and for the defaults plain
//! assignments; the shell is restricted, so that no command with a `/`, no output redirection and no `/dev/tcp` is had; `PATH` is a
//! place with no programs, and readonly; the builtins that could get around those are switched off; the environment holds no
//! secret; and where the kernel lets an ordinary user have namespaces, there is no network. Memory, files and time are
//! limited. All of that keeps mistakes from doing harm. It is no promise about an adapter that somebody wrote to do harm.

use std::{
    fs::File,
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Read, Seek, Write},
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use camino::Utf8Path;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

/// How much of each output is kept.
const OUTPUT_MAX: u64 = 256 * 1024;

/// How often it is looked whether bash has ended.
const PAUSE: Duration = Duration::from_millis(2);

/// How long what bash left running may go on: a command that was tried in the background is reported from there.
const LEFT_MAX: Duration = Duration::from_secs(1);

/// Builtins that run programs, open files, wait, or leave the restrictions.
const OFF: &str = ". alias bg bind caller cd command compgen complete compopt dirs disown exec exit fc fg getopts hash help \
                   history jobs kill let logout mapfile popd pushd pwd read readarray source suspend times type ulimit \
                   umask unalias wait enable";

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
    /// The commands that it tried, with their lines.
    pub(crate) tried: Vec<(usize, String)>,
    /// What bash said beside that.
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

    /// Returns what `bash -n` says.
    pub(crate) fn syntax(&self) -> io::Result<String> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), self.text)?;
        let mut command = bare(self.bash);
        command.arg("-n").arg(file.path());
        let said = run(&mut command, "", self.end)?;
        Ok(said.stderr.replace(&format!("{}: ", file.path().display()), ""))
    }

    /// Reads the text without running any command of it.
    pub(crate) fn read(&self) -> io::Result<Reading> {
        let mark = mark();
        let script = [START.replace("OFF", OFF), TRAP.to_owned(), ASK.to_owned()].concat();
        let mut command = bare(self.bash);
        command.args(["-c", &script.replace("MARK", &mark), "twolane"]);
        let said = run(&mut command, self.text, self.end)?;
        Ok(understand(said, &mark))
    }

    /// Calls a function of a text that passed [`Dry::read`], where no program can be run. Of the user's variables only those are
    /// there that name places and sizes: see [`is_shown`].
    pub(crate) fn call(&self, function: &str) -> io::Result<Said> {
        let script = [START.replace("OFF", OFF), CALL.to_owned()].concat();
        let mut command = bare(self.bash);
        command
            .envs(std::env::vars_os().filter(|(name, _)| is_shown(&name.to_string_lossy())))
            .args(["-c", &script.replace("MARK", &mark()), "twolane", function]);
        run(&mut command, self.text, self.end)
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

/// The text is on standard input, which the adapter finds at its end. All in one line: that of the text's first is 1.
const START: &str = "readonly PATH=/dev/null; IFS= read -r -d '' MARK_text; { ulimit -c 0; ulimit -v 1000000; ulimit -n 64; } \
                     2>/dev/null; MARK_end=$'\\036'; MARK_tried=; enable -n OFF; ";

/// Only keywords and assignments: the file may define a function of any other name. A command in a subshell is reported on
/// standard error, since what is assigned there is lost; too many commands end the shell in the same way.
const TRAP: &str = "set -rT; shopt -s extdebug; trap 'if [[ $BASH_COMMAND == *MARK* || ${MARK_phase-} == 2 ]]; then [[ 1 ]]; \
                    elif [[ $BASH_SUBSHELL == 0 && ${#MARK_tried} -lt 65536 ]]; then \
                    MARK_tried+=\"$LINENO:$BASH_COMMAND$MARK_end\"; [[ \"\" ]]; else \
                    MARK_x=${MARK_unset?$LINENO:$BASH_COMMAND}; fi' DEBUG; ";

/// In POSIX mode a special builtin such as `export` is found before a function of its name.
const ASK: &str = "eval \"$MARK_text\"; MARK_phase=2 POSIXLY_CORRECT=1; MARK_hid=; export -f builtin && MARK_hid+=' builtin'; \
                   export -f declare && MARK_hid+=' declare'; export -f printf && MARK_hid+=' printf'; \
                   unset -f builtin declare printf; builtin printf '%s\\n' \"MARK $MARK_hid\"; builtin declare -F; \
                   builtin printf '%s\\n' MARK; builtin printf '%s' \"$MARK_tried\"";

/// What stands outside of functions is skipped here too, unless it is a plain setting: what evaluates arithmetic, as `declare -i` and
/// a subscript do, can run commands.
const CALL: &str = "set -rT; shopt -s extdebug; \
                    MARK_plain='^((readonly|export|declare -r) )?[A-Za-z_][A-Za-z0-9_]*[+]?='; \
                    trap '[[ $BASH_COMMAND == *MARK* || ( $BASH_COMMAND =~ $MARK_plain && $BASH_COMMAND != *[\\`\\[]* && \
                    $BASH_COMMAND != *\"\\$(\"* && $BASH_COMMAND != *PATH* ) ]]' DEBUG; \
                    eval \"$MARK_text\"; MARK_done=1 trap - DEBUG; shopt -u extdebug; \"$1\"";

/// Returns a name that no text can hold by chance.
fn mark() -> String {
    format!("tl_{:016x}", RandomState::new().build_hasher().finish())
}

/// Returns a bash that reads no file of the user's and has no variables; without a network, where the kernel lets this user have that.
pub(crate) fn bare(bash: &Utf8Path) -> Command {
    static HAS_NAMESPACES: OnceLock<bool> = OnceLock::new();
    let unshared = || {
        let mut command = Command::new("unshare");
        command.args(["--user", "--net", "--"]);
        command
    };
    let works = || {
        let mut probe = unshared();
        probe.arg("true").stdout(Stdio::null()).stderr(Stdio::null());
        probe.status().is_ok_and(|status| status.success())
    };
    let mut command = match *HAS_NAMESPACES.get_or_init(works) {
        true => unshared(),
        false => Command::new(bash),
    };
    if command.get_program() != bash.as_str() {
        command.arg(bash);
    }
    command
        .env_clear()
        .env("LC_ALL", "C")
        .args(["--noprofile", "--norc"]);
    command
}

/// Runs a command to its end, or kills it with all that it started when the time is over.
pub(crate) fn run(command: &mut Command, input: &str, end: Instant) -> io::Result<Said> {
    let mut child = command
        .stdin(file_of(input)?)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let stdout = thread::spawn(kept(child.stdout.take()));
    let stderr = thread::spawn(kept(child.stderr.take()));
    let group = Pid::from_child(&child);
    let looks = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    let mut is_in_time = true;
    while is_in_time && matches!(waitid(WaitId::Pid(group), looks), Ok(None)) {
        is_in_time = Instant::now() < end;
        thread::sleep(PAUSE);
    }
    let ended = Instant::now();
    let is_open = || !(stdout.is_finished() && stderr.is_finished());
    while is_in_time && is_open() && ended.elapsed() < LEFT_MAX {
        thread::sleep(PAUSE);
    }
    // Also what it left running: bash itself is not waited for yet, so that the group is still its own.
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

fn understand(said: Said, mark: &str) -> Reading {
    let mut tried = Vec::new();
    let mut complaints = Vec::new();
    let in_subshell = format!("{mark}_unset: ");
    for line in said.stderr.lines() {
        let line = line.strip_prefix("twolane: ").unwrap_or(line);
        if let Some((_, command)) = line.split_once(&in_subshell) {
            tried.extend(numbered(command));
        } else if !is_of_asking(line) {
            complaints.push(line.to_owned());
        }
    }
    let answer = said.stdout.split_once(&format!("{mark} "));
    let answer = answer.and_then(|(_, answer)| answer.split_once(&format!("{mark}\n")));
    let functions = answer.map(|(listed, commands)| {
        tried.extend(commands.split('\u{1e}').filter_map(numbered));
        names(listed)
    });
    tried.sort();
    tried.dedup();
    Reading {
        said,
        functions,
        tried,
        complaints,
    }
}

/// The names of the functions that stood in the way are in the first line, then follows `declare -F`.
fn names(listed: &str) -> Vec<String> {
    let (hidden, declared) = listed.split_once('\n').unwrap_or_default();
    let declared = declared.lines().filter_map(|line| line.split_whitespace().last());
    hidden
        .split_whitespace()
        .chain(declared)
        .map(str::to_owned)
        .collect()
}

fn numbered(command: &str) -> Option<(usize, String)> {
    let (line, command) = command.split_once(':')?;
    Some((
        line.parse().ok()?,
        command.lines().next().unwrap_or_default().to_owned(),
    ))
}

/// Returns whether a complaint is about our own question after the three names.
fn is_of_asking(line: &str) -> bool {
    ["builtin", "declare", "printf"]
        .iter()
        .any(|name| line.ends_with(&format!("export: {name}: not a function")))
}
