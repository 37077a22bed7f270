//! One run of rsync over a connection: started, followed, and dead when nobody waits for it any more.

use std::process::Stdio;

use camino::Utf8Path;
use model::{error::RemoteError, source::Synced, world::Progress};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
};

use crate::{failure, quote, shell::Shell};

/// Variables of the user that would change what rsync does.
const OF_THE_USER: [&str; 9] = [
    "RSYNC_CHECKSUM_LIST",
    "RSYNC_COMPRESS_LIST",
    "RSYNC_CONNECT_PROG",
    "RSYNC_ICONV",
    "RSYNC_OLD_ARGS",
    "RSYNC_PARTIAL_DIR",
    "RSYNC_PROTECT_ARGS",
    "RSYNC_PROXY",
    "RSYNC_RSH",
];

/// Exit codes of rsync that say that the connection, not a file, is at fault.
const CONNECTION: [i32; 5] = [10, 12, 30, 35, 255];

/// What is written to standard error is kept up to here.
const STDERR_MAX: usize = 64 * 1024;

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
}

impl Copied {
    /// Takes it as done, or says what failed.
    pub(crate) fn done(self, what: &str) -> Result<Synced, RemoteError> {
        let said = failure::last_lines(&self.stderr);
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

/// Runs rsync with `args`, which name the other side by `shell.host()`, in the directory `dir`.
pub(crate) async fn rsync(
    shell: &dyn Shell,
    args: &[&str],
    dir: &Utf8Path,
    stdin: &[u8],
    progress: &dyn Progress,
) -> Result<Copied, RemoteError> {
    let rsh: Vec<String> = shell.rsh().iter().map(|word| quote::for_rsync(word)).collect();
    let mut command = Command::new("rsync");
    for name in OF_THE_USER {
        command.env_remove(name);
    }
    let mut child = command
        .args(["-s", "--no-h", "--outbuf=L", "--info=progress2", "--stats", "-e"])
        .arg(rsh.join(" "))
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failure::of_start("rsync", &error))?;
    let mut group = Group::of(&child);
    let (input, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut input) = input {
            // It stops reading only when it fails, and then says so.
            let _ = input.write_all(stdin).await;
        }
    };
    let ((), synced, stderr) = tokio::join!(feed, follow(stdout, progress), tail(stderr));
    let status = child
        .wait()
        .await
        .map_err(|error| failure::of_start("rsync", &error))?;
    group.is_done();
    Ok(Copied {
        code: status.code(),
        stderr,
        synced,
    })
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
    let to = format!("{}:{}/", shell.host(), to.trim_end_matches('/'));
    let args = [
        "-a",
        "--no-owner",
        "--no-group",
        "--delete",
        "--mkpath",
        "./",
        &to,
    ];
    rsync(shell, &args, from, b"", progress)
        .await?
        .done(&format!("copying {from}"))
}

async fn follow(pipe: Option<impl AsyncRead + Unpin>, progress: &dyn Progress) -> Synced {
    let mut synced = Synced::default();
    let Some(mut pipe) = pipe else { return synced };
    let (mut buffer, mut line) = (vec![0; 8192], Vec::new());
    while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
        for byte in &buffer[..length] {
            if matches!(byte, b'\r' | b'\n') {
                read_line(&String::from_utf8_lossy(&line), &mut synced, progress);
                line.clear();
            } else {
                line.push(*byte);
            }
        }
    }
    synced
}

async fn tail(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        let mut buffer = vec![0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut buffer).await {
            bytes.extend_from_slice(&buffer[..length]);
            if bytes.len() > STDERR_MAX {
                bytes.drain(..bytes.len() - STDERR_MAX / 2);
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn read_line(line: &str, synced: &mut Synced, progress: &dyn Progress) {
    if let Some(percent) = percent(line) {
        progress.report("copying files", Some((percent, 100)));
    } else if let Some((name, value)) = line.split_once(": ") {
        let number = value
            .split(' ')
            .next()
            .and_then(|digits| digits.replace(',', "").parse().ok());
        let number: u64 = number.unwrap_or(0);
        match name {
            "Number of files" => synced.files = number,
            "Number of regular files transferred" => synced.sent = number,
            "Number of deleted files" => synced.deleted = number,
            "Total bytes sent" | "Total bytes received" => synced.bytes += number,
            _ => {}
        }
    }
}

/// Reads how much of all bytes is done from `1,234  45%  1.23MB/s  0:00:01 (xfr#12, to-chk=100/1000)`.
fn percent(line: &str) -> Option<u64> {
    line.split_whitespace().nth(1)?.strip_suffix('%')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Silent;
    impl Progress for Silent {
        fn report(&self, _: &str, _: Option<(u64, u64)>) {}
    }

    #[test]
    fn progress_is_read() {
        let line = "      1234567  45%    1.23MB/s    0:00:01 (xfr#12, to-chk=100/1000)";
        assert_eq!(percent(line), Some(45));
        assert_eq!(percent("      1234567   5%    1.23MB/s    0:00:01  "), Some(5));
        assert_eq!(percent("Number of files: 3"), None);
    }

    #[test]
    fn statistics_are_read_with_and_without_commas() {
        let mut synced = Synced::default();
        for line in [
            "Number of files: 30,001 (reg: 30,000, dir: 1)",
            "Number of created files: 0",
            "Number of deleted files: 2 (reg: 2)",
            "Number of regular files transferred: 1",
            "Total file size: 5 bytes",
            "Total bytes sent: 1000",
            "Total bytes received: 1,234",
        ] {
            read_line(line, &mut synced, &Silent);
        }
        assert_eq!(
            synced,
            Synced {
                files: 30001,
                sent: 1,
                deleted: 2,
                bytes: 2234
            }
        );
    }
}
