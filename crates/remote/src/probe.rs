//! Waits a moment for an SSH server to greet. Reports nothing about who it is: that is ssh's business.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use model::error::RemoteError;
use tokio::{
    io::AsyncReadExt,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

/// How long all of it may take. A busy emulated box needs seconds to start the process that greets.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How long until another connection is tried beside the ones that are silent. QEMU accepts a connection
/// for a guest that has no network yet, and asks the guest again only after seconds; a new one asks at once.
/// Each time later, up to [`STAGGER_MAX`]: a server that is slow to greet must not be kept busy with ever more connections.
const STAGGER: Duration = Duration::from_millis(250);
const STAGGER_MAX: Duration = Duration::from_secs(2);

/// Returns as soon as an SSH server greets at `address`.
pub(crate) async fn greeting(address: SocketAddr) -> Result<(), RemoteError> {
    let end = Instant::now() + PATIENCE;
    let mut tries = JoinSet::new();
    let is_accepted = Arc::new(AtomicBool::new(false));
    let mute = |why: &str| {
        let why = format!("{address}: {why}");
        match is_accepted.load(Ordering::Relaxed) {
            true => RemoteError::Mute { greeted: false, why },
            false => RemoteError::Unreachable(why),
        }
    };
    let mut stagger = STAGGER;
    loop {
        tries.spawn(banner(address, Arc::clone(&is_accepted)));
        let next = (Instant::now() + stagger).min(end);
        stagger = (stagger * 2).min(STAGGER_MAX);
        tokio::select! {
            Some(done) = tries.join_next() => return match done {
                Ok(Ok(())) => Ok(()),
                Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                    Err(RemoteError::NotSsh(format!("{address} {error}")))
                }
                Ok(Err(error)) if ENDS.contains(&error.kind()) => Err(mute("it closes each connection")),
                Ok(Err(error)) => Err(mute(&error.to_string())),
                Err(error) => Err(mute(&error.to_string())),
            },
            () = sleep_until(next) => {}
        }
        if next == end {
            return Err(mute("nothing greets"));
        }
    }
}

/// How a connection ends that a server closes before it has greeted.
const ENDS: [io::ErrorKind; 3] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::BrokenPipe,
];

async fn banner(address: SocketAddr, is_accepted: Arc<AtomicBool>) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    is_accepted.store(true, Ordering::Relaxed);
    let mut start = [0; 4];
    timeout_at(Instant::now() + PATIENCE, stream.read_exact(&mut start)).await??;
    judge(&start).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}

/// Says what is wrong with the first four bytes of a server, if they are not those of SSH.
pub(crate) fn judge(start: &[u8]) -> Result<(), String> {
    match start {
        b"SSH-" => Ok(()),
        other => Err(format!("begins with `{}`, not with `SSH-`", other.escape_ascii())),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn closed_port_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert!(matches!(
            greeting(address).await,
            Err(RemoteError::Unreachable(_))
        ));
    }

    #[tokio::test]
    async fn silent_first_connection_does_not_hold_up_the_second() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let silent = listener.accept().await.unwrap();
            let (mut greets, _) = listener.accept().await.unwrap();
            greets.write_all(b"SSH-2.0-x\r\n").await.unwrap();
            (silent, greets)
        });
        greeting(address).await.unwrap();
        server.await.unwrap();
    }

    #[tokio::test]
    async fn server_that_closes_at_once_is_mute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
        let error = greeting(address).await.unwrap_err();
        assert!(
            matches!(error, RemoteError::Mute { greeted: false, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("it closes each connection"), "{error}");
        server.await.unwrap();
    }

    #[tokio::test]
    async fn other_server_is_named() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 400\r\n").await.unwrap();
        });
        let error = greeting(address).await.unwrap_err();
        assert!(matches!(error, RemoteError::NotSsh(_)), "{error}");
        assert!(error.to_string().contains("begins with `HTTP`"), "{error}");
        server.await.unwrap();
    }
}
