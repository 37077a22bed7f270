//! Runs one function of an adapter with the user's own environment, for a bounded time and with bounded output.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    pin::pin,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use camino::Utf8Path;
use futures::future::{Either, join, maybe_done, select};
use model::world::Progress;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, Command},
    time::timeout,
};

use super::{
    address::plain,
    dry::is_for_bash,
    processes::{self, Processes},
};
use crate::local::path_of;

const SCRIPT: &str = include_str!("call.sh");

/// The most that an adapter may write to standard output.
pub(crate) const STDOUT_MAX: usize = 64 * 1024;

/// How much of a line of standard error is kept.
const LINE_MAX: usize = 500;

/// How many lines of standard error are passed on while it runs, and how many are kept for the error.
const LINES_SHOWN: usize = 1000;
const LINES_KEPT: usize = 5;

/// How long output is waited for when the function has ended, and a daemon that it started holds on to the pipe.
const DRAIN: Duration = Duration::from_secs(2);

/// A call that can be made.
pub(crate) struct Call<'a> {
    pub(crate) bash: &'a Utf8Path,
    pub(crate) file: &'a Utf8Path,
    pub(crate) function: &'static str,
    /// Passed as they are: no shell reads them as a command.
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    pub(crate) time_max: Duration,
    /// Whether a daemon of a call that ended well is what it was made for.
    pub(crate) may_leave_daemons: bool,
}

/// How a call ended.
pub(crate) struct Ended {
    /// None: it was killed at its time limit.
    pub(crate) status: Option<ExitStatus>,
    /// The beginning of what it wrote to standard output.
    pub(crate) stdout: String,
    /// How much it wrote there.
    pub(crate) stdout_bytes: usize,
    /// The last lines that it wrote to standard error.
    pub(crate) last_words: Vec<String>,
}

impl Call<'_> {
    /// Runs it. Everything that it started is killed when it ends, takes too long, or is dropped.
    pub(crate) async fn run(&self, progress: &dyn Progress) -> io::Result<Ended> {
        let mark = processes::mark();
        let mut child = self.command().env(processes::MARK, &mark).spawn()?;
        let processes = Processes::of(&child, mark);
        let mut out = Out::default();
        let mut words = Words::new(progress);
        let status = self.to_end(&mut child, processes, &mut out, &mut words).await?;
        Ok(Ended {
            status,
            stdout: String::from_utf8_lossy(&out.kept).into_owned(),
            stdout_bytes: out.bytes,
            last_words: words.last(),
        })
    }

    /// Waits for the end of the function while what it says is read, and ends what it has left.
    async fn to_end(
        &self,
        child: &mut Child,
        mut processes: Processes,
        out: &mut Out,
        words: &mut Words<'_>,
    ) -> io::Result<Option<ExitStatus>> {
        // `Child::wait` would close it, and with it end the call.
        let alive = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let mut reading = pin!(maybe_done(join(
            read(stdout, |bytes| out.take(bytes)),
            read(stderr, |bytes| words.take(bytes)),
        )));
        let ending = async {
            match select(pin!(child.wait()), reading.as_mut()).await {
                Either::Left((status, _)) => status,
                Either::Right(((), ended)) => ended.await,
            }
        };
        let status = timeout(self.time_max, ending).await.ok().transpose()?;
        if self.may_leave_daemons && status.is_some_and(|status| status.success()) {
            processes.leave_daemons();
        }
        drop((processes, alive));
        // A daemon may hold on to the pipes.
        let _ = timeout(DRAIN, reading).await;
        Ok(status)
    }

    fn command(&self) -> Command {
        let mut command = match path_of("setsid") {
            Some(setsid) => {
                let mut command = Command::new(setsid);
                command.arg(self.bash);
                command
            }
            // Every Linux has it.
            None => {
                let mut command = Command::new(self.bash);
                command.process_group(0);
                command
            }
        };
        for (name, _) in std::env::vars_os() {
            // Exported functions, too, begin so.
            if is_for_bash(&name.to_string_lossy()) {
                command.env_remove(name);
            }
        }
        command
            .args(["--noprofile", "--norc", "-c", SCRIPT, "twolane"])
            .arg(self.file)
            .arg(self.function)
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }
}

impl Ended {
    /// Says how it ended, with its last words.
    pub(crate) fn how(&self, time_max: Duration) -> String {
        let how = match self.status {
            None => format!("did not end within {} s and was killed", time_max.as_secs()),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("failed with exit code {code}"),
                (None, Some(signal)) => format!("was killed by signal {signal}"),
                (None, None) => format!("failed ({status})"),
            },
        };
        match self.last_words.is_empty() {
            true => how,
            false => format!("{how}: {}", self.last_words.join("\n")),
        }
    }
}

async fn read(pipe: Option<impl AsyncRead + Unpin>, mut take: impl FnMut(&[u8])) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = vec![0; 8192];
    while let Ok(read @ 1..) = pipe.read(&mut chunk).await {
        take(&chunk[..read]);
    }
}

/// What was written to standard output.
#[derive(Default)]
struct Out {
    kept: Vec<u8>,
    bytes: usize,
}

impl Out {
    fn take(&mut self, bytes: &[u8]) {
        let room = STDOUT_MAX.saturating_sub(self.kept.len());
        self.kept.extend(&bytes[..bytes.len().min(room)]);
        self.bytes += bytes.len();
    }
}

/// What was written to standard error, passed on line by line.
struct Words<'a> {
    progress: &'a dyn Progress,
    line: Vec<u8>,
    reported: usize,
    kept: Vec<String>,
}

impl<'a> Words<'a> {
    fn new(progress: &'a dyn Progress) -> Self {
        Self {
            progress,
            line: Vec::new(),
            reported: 0,
            kept: Vec::new(),
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if byte == b'\n' {
                self.end_line();
            } else if self.line.len() < LINE_MAX {
                self.line.push(byte);
            }
        }
    }

    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line))
            .trim()
            .to_owned();
        if line.is_empty() {
            return;
        }
        self.reported += 1;
        if self.reported <= LINES_SHOWN {
            self.progress.report(&line, None);
        } else if self.reported == LINES_SHOWN + 1 {
            self.progress.report("the adapter says more than is shown", None);
        }
        if self.kept.len() == LINES_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(line);
    }

    fn last(mut self) -> Vec<String> {
        self.end_line();
        self.kept.iter().map(|line| plain(line, LINE_MAX)).collect()
    }
}
