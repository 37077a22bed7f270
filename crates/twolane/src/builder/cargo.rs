//! One call of cargo, in an environment that was made for it, dead with all that it started when nobody waits for it.

use std::{
    env,
    process::{ExitStatus, Stdio},
};

use camino::Utf8PathBuf;
use model::{child::is_for_cargo, text::last_lines, world::Progress};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
};

/// Bytes that are read of what a program prints. Who prints more has gone astray.
const OUTPUT_MAX: u64 = 64 * 1024 * 1024;

/// Lines of what a program printed that are repeated where it failed.
const LINES_SHOWN: usize = 20;

/// How cargo and its like are called.
pub(super) struct Cargo {
    /// Where.
    pub(super) dir: Utf8PathBuf,
    /// The toolchain's directory, where it is known.
    pub(super) sysroot: Option<Utf8PathBuf>,
    /// Where cargo-nextest is, which cargo looks for in the PATH.
    pub(super) nextest: Utf8PathBuf,
    /// The channel for rustup, where it is not the usual one.
    pub(super) channel: Option<String>,
}

/// How a program ended.
pub(super) struct Ended {
    status: ExitStatus,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Ended {
    pub(super) fn is_success(&self) -> bool {
        self.status.success()
    }

    /// Returns what it printed, or why it failed.
    pub(super) fn stdout(self) -> Result<String, String> {
        if self.is_success() {
            return Ok(String::from_utf8_lossy(&self.stdout).into_owned());
        }
        let end = last_lines(&self.stderr, LINES_SHOWN).join("\n");
        Err(format!("cargo failed on this machine ({}):\n{end}", self.status))
    }
}

impl Cargo {
    /// Runs a program of the toolchain to its end, and reports its lines.
    pub(super) async fn run(
        &self,
        program: &str,
        arguments: &[&str],
        progress: &dyn Progress,
    ) -> Result<Ended, String> {
        let failed = |error| format!("could not run {program}: {error}");
        let mut child = self.command(program, arguments).spawn().map_err(failed)?;
        let group = Group::of(&child);
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = tokio::join!(read(stdout), lines(stderr, progress));
        let status = child.wait().await.map_err(failed)?;
        group.spare();
        Ok(Ended {
            status,
            stdout,
            stderr,
        })
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&self.dir)
            .env_clear()
            .envs(env::vars_os().filter(|(name, _)| is_for_cargo(&name.to_string_lossy())))
            .envs(self.channel.iter().map(|channel| ("RUSTUP_TOOLCHAIN", channel)))
            // A look installs nothing.
            .env("RUSTUP_AUTO_INSTALL", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let path = env::var_os("PATH").unwrap_or_default();
        let first = self.sysroot.iter().map(|sysroot| sysroot.join("bin").into());
        let last = self.nextest.parent().into_iter().map(Into::into);
        let all = first.chain(env::split_paths(&path)).chain(last);
        command.envs(env::join_paths(all).ok().map(|path| ("PATH", path)));
        command
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut output = Vec::new();
    if let Some(pipe) = pipe {
        // What is cut is not read by who wants JSON.
        let _ = pipe.take(OUTPUT_MAX).read_to_end(&mut output).await;
    }
    output
}

async fn lines(pipe: Option<impl AsyncRead + Unpin>, progress: &dyn Progress) -> String {
    let mut all = String::new();
    let Some(pipe) = pipe else { return all };
    let mut lines = BufReader::new(pipe.take(OUTPUT_MAX)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        progress.report(line.trim(), None);
        all += &line;
        all.push('\n');
    }
    all
}

/// Ends a program with all that it started, compilers and linkers, when nobody waits for it any more; and waits for it.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn spare(mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already is as good.
            let _ = kill_process_group(group, Signal::KILL);
            // Whoever goes on finds no cargo at work. Nothing survives that signal for long.
            let _ = waitid(WaitId::Pgid(Some(group)), WaitIdOptions::EXITED);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use parking_lot::Mutex;

    use super::*;

    struct Lines(Mutex<Vec<String>>);

    impl Progress for Lines {
        fn report(&self, message: &str, _: Option<(u64, u64)>) {
            self.0.lock().push(message.to_owned());
        }
    }

    fn here() -> Cargo {
        Cargo {
            dir: "/".into(),
            sysroot: None,
            nextest: Utf8PathBuf::new(),
            channel: Some("1.90.0".to_owned()),
        }
    }

    #[tokio::test]
    async fn environment_is_made_for_it() {
        let lines = Lines(Mutex::default());
        let printed = here().run("env", &[], &lines).await.unwrap().stdout().unwrap();
        // cargo itself sets this one for the test.
        assert!(
            env::var_os("CARGO_MANIFEST_DIR").is_some() && !printed.contains("CARGO_MANIFEST_DIR"),
            "{printed}"
        );
        assert!(
            printed.contains("\nRUSTUP_TOOLCHAIN=1.90.0\n")
                || printed.starts_with("RUSTUP_TOOLCHAIN=1.90.0\n")
        );
    }

    #[tokio::test]
    async fn failure_names_its_last_lines() {
        let lines = Lines(Mutex::default());
        let ended = here()
            .run("sh", &["-c", "echo compiling >&2; exit 3"], &lines)
            .await
            .unwrap();
        let why = ended.stdout().unwrap_err();
        assert!(
            why.contains("exit status: 3") && why.ends_with("compiling"),
            "{why}"
        );
        assert_eq!(*lines.0.lock(), ["compiling"]);
    }

    #[tokio::test]
    async fn what_is_stopped_is_dead_with_all_that_it_started() {
        let lines = Lines(Mutex::default());
        let arguments = ["-c", "sleep 1000 & echo $! >&2; echo $$ >&2; wait"];
        let cargo = here();
        let run = cargo.run("sh", &arguments, &lines);
        let has_said_both = async {
            while lines.0.lock().len() < 2 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = run => panic!("it sleeps"),
            () = has_said_both => {}
        }
        let pids = lines.0.lock().clone();
        let is_alive = |pid: &String| {
            let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            !state.is_empty() && !state.contains(") Z ")
        };
        assert!(!is_alive(&pids[1]), "it was waited for");
        for _ in 0..1000 {
            if !is_alive(&pids[0]) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("what it started is alive");
    }
}
