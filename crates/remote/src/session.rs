//! An open connection: commands over the shared connection, or over one of their own where sharing fails.

use std::{future::Future, process::Stdio};

use async_trait::async_trait;
use camino::{Utf8Path, Utf8PathBuf};
use model::{
    error::RemoteError,
    limits::{Budget, Limits},
    render::quote,
    source::{Source, Synced},
    text::{error_chain, last_words},
    world::{Command, Fetched, Output, Progress, Session},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::{
    answer::{self, Broken},
    copy, environment, failure, fetch,
    layout::Layout,
    shell::Shell,
    sync,
};

/// What OpenSSH exits with when it is the connection that failed.
const SSH_FAILED: i32 = 255;

/// What a shell exits with when it knows no such program.
const NO_SUCH_PROGRAM: i32 = 127;

/// A connection to one box.
pub(crate) struct SshSession {
    pub(crate) link: Link,
    /// `ssh` and all its options; joins the shared connection where there is one.
    pub(crate) ssh: Vec<String>,
    /// What stands for the box; `ssh` holds its address.
    pub(crate) host: String,
    pub(crate) layout: Layout,
}

/// How commands get to the box.
pub(crate) enum Link {
    /// Over one connection.
    Shared(openssh::Session),
    /// Each over its own.
    Plain,
}

/// Why a command did not run over the shared connection.
enum Failed {
    /// The server gives no further channel; the command did not start.
    NoChannel,
    For(RemoteError),
}

#[async_trait]
impl Session for SshSession {
    async fn run(&self, command: &Command) -> Result<Output, RemoteError> {
        Shell::run(self, command).await
    }

    async fn sync(&self, source: &Source, progress: &dyn Progress) -> Result<Synced, RemoteError> {
        sync::sync(self, &self.layout, source, progress).await
    }

    async fn send_dir(
        &self,
        from: &Utf8Path,
        to: &str,
        progress: &dyn Progress,
    ) -> Result<Synced, RemoteError> {
        copy::send_dir(self, from, to, progress).await
    }

    async fn send_files(
        &self,
        from: &[Utf8PathBuf],
        to: &str,
        progress: &dyn Progress,
    ) -> Result<Synced, RemoteError> {
        copy::send_files(self, from, to, progress).await
    }

    async fn fetch(
        &self,
        from: &[String],
        to: &Utf8Path,
        limits: (&Limits, &Budget),
    ) -> Result<Fetched, RemoteError> {
        fetch::fetch(self, from, to, limits).await
    }
}

#[async_trait]
impl Shell for SshSession {
    async fn run(&self, command: &Command) -> Result<Output, RemoteError> {
        let Link::Shared(shared) = &self.link else {
            return self.run_plain(command).await;
        };
        match self.run_shared(shared, command).await {
            Ok(output) => Ok(output),
            Err(Failed::NoChannel) => self.run_plain(command).await,
            Err(Failed::For(error)) => Err(error),
        }
    }

    fn rsh(&self) -> &[String] {
        &self.ssh
    }

    fn host(&self) -> &str {
        &self.host
    }
}

impl SshSession {
    async fn run_shared(&self, shared: &openssh::Session, command: &Command) -> Result<Output, Failed> {
        let Some((program, args)) = command.argv.split_first() else {
            return Err(Failed::For(RemoteError::Here(
                "there is no command to run".to_owned(),
            )));
        };
        let stdin = if command.stdin.is_empty() {
            openssh::Stdio::null()
        } else {
            openssh::Stdio::piped()
        };
        let mut child = shared
            .command(program.as_str())
            .args(args)
            .stdin(stdin)
            .stdout(openssh::Stdio::piped())
            .stderr(openssh::Stdio::piped())
            .spawn()
            .await
            .map_err(|error| failed_start(&error))?;
        let (input, stdout, stderr) = (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let ended = exchange(command, (input, stdout, stderr), child.wait()).await;
        // Here a command that is over a limit has lost its channel: dropping the child closes that.
        let (ended, stdout, stderr) = ended.map_err(Failed::For)?;
        let code = match ended {
            Ok(status) => status.code(),
            Err(openssh::Error::Remote(_)) => Some(NO_SUCH_PROGRAM),
            Err(error) => self
                .code_of_unknown_end(shared, &error)
                .await
                .map_err(Failed::For)?,
        };
        Ok(Output { code, stdout, stderr })
    }

    /// A command that ends without an exit code was ended by a signal, if the connection still works.
    async fn code_of_unknown_end(
        &self,
        shared: &openssh::Session,
        error: &openssh::Error,
    ) -> Result<Option<i32>, RemoteError> {
        let status = shared
            .command("true")
            .stdin(openssh::Stdio::null())
            .output()
            .await;
        match status {
            Ok(output) if output.status.success() => Ok(None),
            _ => Err(RemoteError::Lost(error_chain(error))),
        }
    }

    /// Runs a command over a connection of its own.
    pub(crate) async fn run_plain(&self, command: &Command) -> Result<Output, RemoteError> {
        let quoted: Vec<String> = command.argv.iter().map(|word| quote(word)).collect();
        let mut ssh = tokio::process::Command::new(&self.ssh[0]);
        environment::clean(ssh.as_std_mut());
        let mut child = ssh
            .args(&self.ssh[1..])
            .arg(&self.host)
            .arg(quoted.join(" "))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failure::of_start("ssh", &error))?;
        let (input, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (status, stdout, stderr) = exchange(command, (input, stdout, stderr), child.wait()).await?;
        let status = status.map_err(|error| failure::of_start("ssh", &error))?;
        if status.code() == Some(SSH_FAILED) {
            return Err(RemoteError::Lost(last_words(&String::from_utf8_lossy(&stderr))));
        }
        Ok(Output {
            code: status.code(),
            stdout,
            stderr,
        })
    }
}

fn failed_start(error: &openssh::Error) -> Failed {
    let words = error_chain(error);
    match error {
        openssh::Error::SshMux(_) if failure::is_refused_channel(&words) => Failed::NoChannel,
        openssh::Error::InvalidCommand => Failed::For(RemoteError::Here(words)),
        _ => Failed::For(RemoteError::Lost(words)),
    }
}

/// Gives a command its input, reads what it says and waits for its end: no longer, and no more of it, than it may take.
async fn exchange<T>(
    command: &Command,
    (input, stdout, stderr): Pipes<impl AsyncWrite + Unpin, impl AsyncRead + Unpin, impl AsyncRead + Unpin>,
    end: impl Future<Output = T>,
) -> Result<(T, Vec<u8>, Vec<u8>), RemoteError> {
    let talk = async {
        let ((), stdout, stderr) = tokio::try_join!(
            feed(input, &command.stdin),
            answer::read(stdout, command.answer_max),
            answer::read_end(stderr),
        )?;
        Ok((end.await, stdout, stderr))
    };
    let ended = tokio::time::timeout(command.time_max, talk).await;
    ended
        .unwrap_or(Err(Broken::Silent))
        .map_err(|broken| broken.during(command))
}

/// What leads to a command, and from it.
type Pipes<I, O, E> = (Option<I>, Option<O>, Option<E>);

/// Writes all of it. A command need not read what it is given.
async fn feed(pipe: Option<impl AsyncWrite + Unpin>, bytes: &[u8]) -> Result<(), Broken> {
    if let Some(mut pipe) = pipe {
        let _ = pipe.write_all(bytes).await;
        let _ = pipe.shutdown().await;
    }
    Ok(())
}
