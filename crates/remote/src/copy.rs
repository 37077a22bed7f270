//! One run of rsync over a connection: started, followed, and dead when nobody waits for it any more.

use std::process::Stdio;

use camino::{Utf8Path, Utf8PathBuf};
use model::{error::RemoteError, source::Synced, text::last_words, world::Progress};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::{answer, bounds::Bounds, environment, failure, quote, shell::Shell};

/// Exit codes of rsync that say that the connection, not a file, is at fault.
const CONNECTION: [i32; 5] = [10, 12, 30, 35, 255];

/// How long the other side may be silent.
const SILENCE_MAX: &str = "--timeout=300";

/// The longest line of rsync's that is read.
const LINE_MAX: usize = 8192;

/// Makes rsync's process group end when nobody waits for it: rsync, the process that it forks, and its ssh.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn is_done(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Gone already is as good.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// How a copy ended.
pub(crate) struct Copied {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
    pub(crate) synced: Synced,
    /// What was left behind, as it was over a limit.
    pub(crate) cut: Option<String>,
}

impl Copied {
    /// Takes it as done, or says what failed.
    pub(crate) fn done(self, what: &str) -> Result<Synced, RemoteError> {
        let said = last_words(&self.stderr);
        match self.code {
            Some(0) => Ok(self.synced),
            Some(code) if CONNECTION.contains(&code) => Err(RemoteError::Lost(format!("{what}: {said}"))),
            Some(127) if said.contains("rsync") => Err(RemoteError::Command {
                command: "rsync".to_owned(),
                how: "it is not installed on the box".to_owned(),
                output: said,
            }),
            code => Err(RemoteError::Command {
                command: format!("rsync ({what})"),
                how: code.map_or("a signal".to_owned(), |code| format!("exit code {code}")),
                output: said,
            }),
        }
    }
}

/// One run of rsync.
pub(crate) struct Run<'a> {
    /// They name the other side by `shell.host()`.
    pub(crate) args: &'a [&'a str],
    /// Where it runs.
    pub(crate) dir: &'a Utf8Path,
    pub(crate) stdin: &'a [u8],
    /// What may come of a box.
    pub(crate) bounds: Option<Bounds>,
}

/// Runs rsync to its end, or until it is over its bounds.
pub(crate) async fn rsync(
    shell: &dyn Shell,
    run: Run<'_>,
    progress: &dyn Progress,
) -> Result<Copied, RemoteError> {
    let mut child = command(shell, &run)
        .spawn()
        .map_err(|error| failure::of_start("rsync", &error))?;
    let mut group = Group::of(&child);
    let (input, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut followed = Followed {
        synced: Synced::default(),
        bounds: run.bounds.clone(),
        progress,
    };
    let talk = async {
        let feed = async {
            if let Some(mut input) = input {
                // It stops reading only when it fails, and then says so.
                let _ = input.write_all(run.stdin).await;
            }
            Ok(())
        };
        let errors = async {
            let errors = answer::read_end(stderr).await;
            errors.map_err(|_| "rsync had no end of complaints".to_owned())
        };
        let ((), (), stderr) = tokio::try_join!(feed, followed.follow(stdout), errors)?;
        Ok(stderr)
    };
    let ended = match &run.bounds {
        Some(bounds) => tokio::select! {
            ended = talk => ended,
            full = bounds.watch(run.dir) => Err(full),
        },
        None => talk.await,
    };
    let (stderr, over) = match ended {
        Ok(stderr) => (stderr, None),
        Err(why) => {
            drop(group);
            group = Group(None);
            (Vec::new(), Some(why))
        }
    };
    let status = child
        .wait()
        .await
        .map_err(|error| failure::of_start("rsync", &error))?;
    group.is_done();
    Ok(Copied {
        code: status.code(),
        stderr: String::from_utf8_lossy(&stderr).into_owned(),
        synced: followed.synced,
        cut: over.or_else(|| followed.bounds.and_then(|bounds| bounds.passed_by())),
    })
}

fn command(shell: &dyn Shell, run: &Run<'_>) -> Command {
    let rsh: Vec<String> = shell.rsh().iter().map(|word| quote::for_rsync(word)).collect();
    let mut command = match &run.bounds {
        Some(bounds) => bounds.command("rsync"),
        None => Command::new("rsync"),
    };
    environment::clean(command.as_std_mut());
    command
        .args([
            "-s",
            "--no-h",
            "--outbuf=L",
            "--info=progress2",
            "--stats",
            SILENCE_MAX,
            "-e",
        ])
        .arg(rsh.join(" "))
        .args(run.args)
        .current_dir(run.dir)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    command
}

/// Copies a directory with everything in it, and deletes there what is not here.
pub(crate) async fn send_dir(
    shell: &dyn Shell,
    from: &Utf8Path,
    to: &str,
    progress: &dyn Progress,
) -> Result<Synced, RemoteError> {
    if !from.is_dir() {
        return Err(RemoteError::Here(format!("{from} is not a directory")));
    }
    let args = ["--delete", "./"];
    send(shell, &args, from, to, progress)
        .await?
        .done(&format!("copying {from}"))
}

/// Copies files into a directory, what links lead to instead of links.
pub(crate) async fn send_files(
    shell: &dyn Shell,
    from: &[Utf8PathBuf],
    to: &str,
    progress: &dyn Progress,
) -> Result<Synced, RemoteError> {
    let paths = from.iter().map(|path| path.as_str());
    let args: Vec<&str> = ["--copy-links", "--"].into_iter().chain(paths).collect();
    send(shell, &args, Utf8Path::new("/"), to, progress)
        .await?
        .done("copying programs")
}

async fn send(
    shell: &dyn Shell,
    more: &[&str],
    dir: &Utf8Path,
    to: &str,
    progress: &dyn Progress,
) -> Result<Copied, RemoteError> {
    let to = format!("{}:{}/", shell.host(), to.trim_end_matches('/'));
    // Programs and libraries are what is copied whole: a third of their size is sent, at the least effort.
    let args = [
        &[
            "-a",
            "--compress",
            "--compress-level=1",
            "--no-owner",
            "--no-group",
            "--mkpath",
        ],
        more,
        &[to.as_str()],
    ]
    .concat();
    let run = Run {
        args: &args,
        dir,
        stdin: b"",
        bounds: None,
    };
    rsync(shell, run, progress).await
}

/// What rsync says of itself, line by line.
struct Followed<'a> {
    synced: Synced,
    bounds: Option<Bounds>,
    progress: &'a dyn Progress,
}

impl Followed<'_> {
    /// Reads to the end, or until it is over the bounds.
    async fn follow(&mut self, pipe: Option<impl AsyncRead + Unpin>) -> Result<(), String> {
        let Some(mut pipe) = pipe else { return Ok(()) };
        let (mut buffer, mut line) = (vec![0; 8192], Vec::new());
        while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
            for byte in &buffer[..length] {
                if matches!(byte, b'\r' | b'\n') {
                    self.take(&String::from_utf8_lossy(&line))?;
                    line.clear();
                } else if line.len() < LINE_MAX {
                    line.push(*byte);
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str) -> Result<(), String> {
        if let Some(bounds) = &mut self.bounds {
            bounds.take(line)?;
        }
        if let Some(percent) = percent(line) {
            self.progress.report("copying files", Some((percent, 100)));
        } else if let Some((name, value)) = line.split_once(": ") {
            let number = value
                .split(' ')
                .next()
                .and_then(|digits| digits.replace(',', "").parse().ok());
            let number: u64 = number.unwrap_or(0);
            let synced = &mut self.synced;
            match name {
                "Number of files" => synced.files = number,
                "Number of regular files transferred" => synced.sent = number,
                "Number of deleted files" => synced.deleted = number,
                "Total bytes sent" | "Total bytes received" => {
                    synced.bytes = synced.bytes.saturating_add(number);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads how much of all bytes is done from `1,234  45%  1.23MB/s  0:00:01 (xfr#12, to-chk=100/1000)`.
fn percent(line: &str) -> Option<u64> {
    line.split_whitespace().nth(1)?.strip_suffix('%')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use model::world::Silent;

    use super::*;

    #[test]
    fn progress_is_read() {
        let line = "      1234567  45%    1.23MB/s    0:00:01 (xfr#12, to-chk=100/1000)";
        assert_eq!(percent(line), Some(45));
        assert_eq!(percent("      1234567   5%    1.23MB/s    0:00:01  "), Some(5));
        assert_eq!(percent("Number of files: 3"), None);
    }

    #[test]
    fn statistics_are_read_with_and_without_commas() {
        let mut followed = Followed {
            synced: Synced::default(),
            bounds: None,
            progress: &Silent,
        };
        for line in [
            "Number of files: 30,001 (reg: 30,000, dir: 1)",
            "Number of created files: 0",
            "Number of deleted files: 2 (reg: 2)",
            "Number of regular files transferred: 1",
            "Total file size: 5 bytes",
            "Total bytes sent: 1000",
            "Total bytes received: 1,234",
        ] {
            followed.take(line).unwrap();
        }
        assert_eq!(
            followed.synced,
            Synced {
                files: 30001,
                sent: 1,
                deleted: 2,
                bytes: 2234
            }
        );
    }
}
