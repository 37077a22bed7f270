//! Talks to a running QEMU over its control socket.

use std::{io, os::fd::AsRawFd, time::Duration};

use camino::Utf8Path;
use qapi::{futures::QmpStreamTokio, qmp};
use tokio::{net::UnixStream, time::timeout};

/// The socket's name in the box's directory.
pub(crate) const SOCKET: &str = "qmp.sock";

/// How long one command may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// Asks QEMU how the guest is: `running`, `paused` and the like.
pub(crate) async fn status(directory: &Utf8Path) -> io::Result<String> {
    let answer = run(directory, qmp::query_status {}).await?;
    Ok(format!("{:?}", answer.status))
}

/// Reports QEMU to end. It may be gone before it has answered.
pub(crate) async fn quit(directory: &Utf8Path) -> io::Result<()> {
    run(directory, qmp::quit {}).await.map(drop)
}

async fn run<C: qapi::Command + qmp::QmpCommand>(directory: &Utf8Path, command: C) -> io::Result<C::Ok> {
    let talk = async {
        let negotiation = QmpStreamTokio::open(connect(directory).await?).await?;
        let (service, events) = negotiation.negotiate().await?.spawn_tokio();
        let answer = service.execute(command).await;
        events.abort();
        answer.map_err(io::Error::other)
    };
    timeout(PATIENCE, talk).await?
}

/// Connects by way of the open directory: a socket's own path may have no more than 107 bytes.
async fn connect(directory: &Utf8Path) -> io::Result<UnixStream> {
    let open = std::fs::File::open(directory)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd())).await
}
