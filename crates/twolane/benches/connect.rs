//! Time from the moment at which a box's SSH server listens to the end of our first command there, against `ssh` by hand
//! that is tried every 50 ms: `cargo bench -p twolane --bench connect`. The server is one on loopback that is hidden
//! behind a port which nobody listens on for a while, another while each round.

#![expect(clippy::print_stdout, reason = "it is a program that prints a table")]

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use camino::Utf8Path;
use engine::Link;
use journal::Journal;
use model::{
    build::{BuildOrder, Built},
    event::EventRecord,
    time::Timestamp,
    world::{Builder, Clock, Command, Events, Files, Progress, Stop, Target, World},
};
use tokio::{io::copy_bidirectional, net::TcpStream, sync::oneshot, task::JoinHandle};

#[path = "../../remote/tests/loopback/sshd.rs"]
mod sshd;

const ROUNDS: u64 = 15;

#[tokio::main]
async fn main() {
    let Some(server) = sshd::Sshd::start("").await else {
        return;
    };
    let journal = Journal::open(&server.dir.join("journal"), Arc::new(Here)).expect("a journal");
    let world = World {
        providers: BTreeMap::new(),
        remote: Arc::new(server.ssh.clone()),
        journal: Arc::new(journal),
        clock: Arc::new(Here),
        events: Arc::new(Here),
        stop: Arc::new(Here),
        builder: Arc::new(Here),
        files: Arc::new(Here),
        runs: server.dir.join("runs"),
        environment: Default::default(),
    };
    let config = server.dir.join("state/boxes/m1/ssh/config");
    let (mut ours, mut by_hand) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        // Hidden for 2 to 3 s: wherever in a pause between two tries the server begins to listen.
        let hidden = Duration::from_millis(2000 + round * 67);
        let door = Door::new(server.target.port, hidden);
        let target = Target {
            port: door.port,
            ..server.target.clone()
        };
        let link = Link::to(target);
        link.connect(&world, Duration::from_secs(30))
            .await
            .expect("it lets us in");
        link.run(&world, &Command::new(["true"]))
            .await
            .expect("a command");
        ours.push(door.opened().await.elapsed());

        let door = Door::new(server.target.port, hidden);
        while !once(config.as_std_path(), door.port).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        by_hand.push(door.opened().await.elapsed());
    }
    println!(
        "| from the server's first moment to the end of the first command | median of {ROUNDS} | worst |"
    );
    println!("| --- | --- | --- |");
    for (name, mut times) in [("ours", ours), ("`ssh` by hand, tried every 50 ms", by_hand)] {
        times.sort_unstable();
        println!(
            "| {name} | {:.0?} | {:.0?} |",
            times[times.len() / 2],
            times[times.len() - 1]
        );
    }
}

async fn once(config: &Path, port: u16) -> bool {
    let mut command = tokio::process::Command::new("ssh");
    command
        .arg("-F")
        .arg(config)
        .args(["-S", "none", "-p", &port.to_string(), "root@127.0.0.1", "true"]);
    let status = command.stdin(Stdio::null()).stderr(Stdio::null()).status().await;
    status.expect("ssh starts").success()
}

/// A port that leads to the server, and is closed at first.
struct Door {
    port: u16,
    opened: oneshot::Receiver<Instant>,
    task: JoinHandle<()>,
}

impl Door {
    fn new(to: u16, hidden: Duration) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address: SocketAddr = free.local_addr().expect("its address");
        drop(free);
        let (tell, opened) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::time::sleep(hidden).await;
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .expect("the same port");
            let _ = tell.send(Instant::now());
            while let Ok((mut from, _)) = listener.accept().await {
                tokio::spawn(async move {
                    if let Ok(mut there) = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await {
                        let _ = copy_bidirectional(&mut from, &mut there).await;
                    }
                });
            }
        });
        Self {
            port: address.port(),
            opened,
            task,
        }
    }

    /// Returns when it was opened, and closes it.
    async fn opened(self) -> Instant {
        let opened = self.opened.await.expect("it has been opened");
        self.task.abort();
        opened
    }
}

/// What a connection needs of the world beside SSH: this machine's clock. The rest is not asked for anything.
struct Here;

#[async_trait]
impl Clock for Here {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, length: Duration) {
        tokio::time::sleep(length).await;
    }

    fn random(&self) -> u64 {
        0
    }
}

impl Events for Here {
    fn emit(&self, _record: EventRecord) {}
}

#[async_trait]
impl Stop for Here {
    async fn asked(&self) {
        std::future::pending().await
    }

    fn is_asked(&self) -> bool {
        false
    }
}

#[async_trait]
impl Builder for Here {
    async fn build(&self, _: &BuildOrder, _: &dyn Progress) -> Result<Built, String> {
        Err("nothing is compiled".to_owned())
    }
}

#[async_trait]
impl Files for Here {
    async fn write(&self, _path: &Utf8Path, _bytes: &[u8]) -> Result<(), String> {
        Ok(())
    }
}
