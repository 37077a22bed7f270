//! Talks to a running QEMU over its control socket.

use std::{io, os::fd::AsRawFd, time::Duration};

use camino::Utf8Path;
use qapi::{
    futures::QmpStreamTokio,
    qmp::{self, MigrationCapability, MigrationCapabilityStatus, MigrationStatus},
};
use tokio::{net::UnixStream, time::timeout};

/// The socket's name in the box's directory.
pub(crate) const SOCKET: &str = "qmp.sock";

/// How long one command may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long a command may take that does something with the guest.
const WORK_PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked whether a state is written or read.
const PAUSE: Duration = Duration::from_millis(5);

/// Asks QEMU how the guest is: `running`, `paused` and the like.
pub(crate) async fn status(directory: &Utf8Path) -> io::Result<String> {
    let answer = run(directory, qmp::query_status {}).await?;
    Ok(format!("{:?}", answer.status))
}

/// Reports QEMU to end. It may be gone before it has answered.
pub(crate) async fn quit(directory: &Utf8Path) -> io::Result<()> {
    run(directory, qmp::quit {}).await.map(drop)
}

/// Stops the guest, writes the state of its devices, and ends QEMU. The guest's memory is a
/// file already.
pub(crate) async fn freeze(directory: &Utf8Path, uri: String) -> io::Result<()> {
    ignore_shared(directory).await?;
    work(directory, qmp::stop {}).await?;
    let migrate = qmp::migrate {
        channels: None,
        detach: None,
        resume: None,
        uri: Some(uri),
    };
    work(directory, migrate).await?;
    until_moved(directory).await?;
    let _ = quit(directory).await;
    Ok(())
}

/// Reads the state of the devices, and lets the guest run. QEMU waits for that.
pub(crate) async fn thaw(directory: &Utf8Path, uri: String) -> io::Result<()> {
    ignore_shared(directory).await?;
    let incoming = qmp::migrate_incoming {
        channels: None,
        exit_on_error: None,
        uri: Some(uri),
    };
    work(directory, incoming).await?;
    until_moved(directory).await?;
    work(directory, qmp::cont {}).await.map(drop)
}

/// Leaves guest memory out of the state: it is in a file that outlives QEMU.
async fn ignore_shared(directory: &Utf8Path) -> io::Result<()> {
    let capabilities = vec![MigrationCapabilityStatus {
        capability: MigrationCapability::x_ignore_shared,
        state: true,
    }];
    work(directory, qmp::migrate_set_capabilities { capabilities })
        .await
        .map(drop)
}

async fn until_moved(directory: &Utf8Path) -> io::Result<()> {
    let moved = async {
        loop {
            let info = work(directory, qmp::query_migrate {}).await?;
            match info.status {
                Some(MigrationStatus::completed) => return Ok(()),
                Some(MigrationStatus::failed | MigrationStatus::cancelled) => {
                    let why = info
                        .error_desc
                        .unwrap_or_else(|| "QEMU does not say why".to_owned());
                    return Err(io::Error::other(why));
                }
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
    };
    timeout(WORK_PATIENCE, moved).await?
}

async fn run<C: qapi::Command + qmp::QmpCommand>(directory: &Utf8Path, command: C) -> io::Result<C::Ok> {
    timeout(PATIENCE, talk(directory, command)).await?
}

async fn work<C: qapi::Command + qmp::QmpCommand>(directory: &Utf8Path, command: C) -> io::Result<C::Ok> {
    timeout(WORK_PATIENCE, talk(directory, command)).await?
}

async fn talk<C: qapi::Command + qmp::QmpCommand>(directory: &Utf8Path, command: C) -> io::Result<C::Ok> {
    let negotiation = QmpStreamTokio::open(connect(directory, SOCKET).await?).await?;
    let (service, events) = negotiation.negotiate().await?.spawn_tokio();
    let answer = service.execute(command).await;
    events.abort();
    answer.map_err(io::Error::other)
}

/// Connects by way of the open directory: a socket's own path may have no more than 107 bytes.
pub(crate) async fn connect(directory: &Utf8Path, socket: &str) -> io::Result<UnixStream> {
    let open = std::fs::File::open(directory)?;
    UnixStream::connect(format!("/proc/self/fd/{}/{socket}", open.as_raw_fd())).await
}
