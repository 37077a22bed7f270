//! Boxes whose root is somebody else: the genuine host key, and answers of any kind. Whatever they do, a call ends in its
//! time, with an error that says what happened, and takes no more than it may.

use std::{fs, time::Duration};

use model::{
    error::RemoteError,
    limits::{Budget, Limits},
    world::{Command, Fetched, Remote},
};

mod cut;
#[path = "../loopback/sshd.rs"]
mod sshd;

use cut::Cut;
use sshd::Sshd;

/// What answers instead of what was asked for: a script that finds the command in `$SSH_ORIGINAL_COMMAND`.
async fn hostile(script: &str) -> Option<Sshd> {
    let server = Sshd::start("ForceCommand sh {dir}/answer\n").await?;
    fs::write(server.dir.join("answer"), script).unwrap();
    Some(server)
}

macro_rules! hostile {
    ($script:expr) => {
        match hostile($script).await {
            Some(server) => server,
            None => return,
        }
    };
}

/// Returns how much memory this process has had at most, in MiB.
fn memory_peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1024
}

async fn answer(server: &Sshd, command: &Command) -> Result<model::world::Output, RemoteError> {
    let session = server.ssh.connect(&server.target).await?;
    session.run(command).await
}

#[tokio::test]
async fn answer_without_end_is_refused_in_little_memory() {
    let server = hostile!("exec cat /dev/zero");
    let error = answer(&server, &Command::new(["follow"])).await.unwrap_err();
    assert!(matches!(error, RemoteError::Command { .. }), "{error}");
    assert!(error.to_string().contains("more than 16 MiB"), "{error}");
    assert!(memory_peak() < 150, "{} MiB", memory_peak());
}

#[tokio::test]
async fn complaints_without_end_are_refused_in_little_memory() {
    let server = hostile!("exec cat /dev/zero >&2");
    let error = answer(&server, &Command::new(["follow"])).await.unwrap_err();
    assert!(matches!(error, RemoteError::Command { .. }), "{error}");
    assert!(memory_peak() < 150, "{} MiB", memory_peak());
}

#[tokio::test]
async fn command_that_hangs_counts_as_lost() {
    for script in [
        "exec sleep 600",
        "exec >&- 2>&-; exec sleep 600",
        "echo begun; exec sleep 600",
    ] {
        let server = hostile!(script);
        let command = Command::new(["start"]).within(Duration::from_secs(1));
        let error = answer(&server, &command).await.unwrap_err();
        assert!(matches!(error, RemoteError::Lost(_)), "{script}: {error}");
        assert!(error.to_string().contains("did not end within 1 s"), "{error}");
    }
}

#[tokio::test]
async fn input_that_nobody_reads_holds_nothing_up() {
    let server = hostile!("exec sleep 600");
    let command = Command::new(["start"])
        .with_stdin(vec![b'x'; 32 << 20])
        .within(Duration::from_secs(1));
    let error = answer(&server, &command).await.unwrap_err();
    assert!(matches!(error, RemoteError::Lost(_)), "{error}");
}

#[tokio::test]
async fn listing_without_end_does_not_fill_the_memory() {
    let server = hostile!("exec cat /dev/zero");
    let session = server.ssh.connect(&server.target).await.unwrap();
    let to = server.dir.join("fetched");
    let fetched = session
        .fetch(
            &["/var/log/x".to_owned()],
            &to,
            (&Limits::default(), &Budget::new(&Limits::default())),
        )
        .await;
    assert!(matches!(fetched, Err(RemoteError::Command { .. })), "{fetched:?}");
    assert!(memory_peak() < 150, "{} MiB", memory_peak());
}

/// A box that answers as it should, with these files.
async fn fetched(script: &str, limits: Limits) -> Option<(Sshd, Result<Fetched, RemoteError>)> {
    let server = Sshd::start("").await?;
    let from = server.dir.join("box");
    fs::create_dir_all(&from).unwrap();
    let made = std::process::Command::new("sh")
        .args(["-euc", script])
        .current_dir(&from)
        .status();
    assert!(made.unwrap().success());
    let session = server.ssh.connect(&server.target).await.unwrap();
    let asked = [format!("{from}/./out")];
    let fetched = session
        .fetch(
            &asked,
            &server.dir.join("fetched"),
            (&limits, &Budget::new(&limits)),
        )
        .await;
    Some((server, fetched))
}

fn size_of(dir: &camino::Utf8Path) -> u64 {
    let entries = dir.read_dir_utf8().into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata().unwrap() {
            it if it.is_dir() => size_of(entry.path()),
            it => it.len(),
        })
        .sum()
}

#[tokio::test]
async fn artifacts_over_the_limit_are_cut_with_the_figure() {
    let limits = Limits {
        artifact_bytes: 8 << 20,
        ..Limits::default()
    };
    let script = "mkdir out; for i in $(seq 40); do head -c 1048576 /dev/zero >out/$i; done";
    let Some((server, fetched)) = fetched(script, limits).await else {
        return;
    };
    let fetched = fetched.unwrap();
    let cut = fetched.cut.unwrap();
    assert!(cut.starts_with("more than 8.4 MB"), "{cut}");
    assert_eq!(fetched.paths.len(), 1);
    let entries = server.dir.join("fetched").read_dir_utf8().unwrap();
    assert_eq!(entries.count(), 1, "something unfinished was left");
}

#[tokio::test]
async fn sparse_file_over_the_limit_is_passed_by_and_the_rest_comes() {
    let limits = Limits {
        artifact_bytes: 1 << 20,
        ..Limits::default()
    };
    let script = "mkdir out; truncate -s 3G out/sparse; echo x >out/junit.xml";
    let Some((server, fetched)) = fetched(script, limits).await else {
        return;
    };
    let cut = fetched.unwrap().cut.unwrap();
    assert!(cut.starts_with("1 files are bigger than 1.0 MB"), "{cut}");
    assert_eq!(size_of(&server.dir.join("fetched")), 2);
}

#[tokio::test]
async fn directories_without_number_are_cut() {
    let limits = Limits {
        artifact_files: 100,
        ..Limits::default()
    };
    let script = "mkdir out; cd out; seq 3000 | xargs mkdir";
    let Some((server, fetched)) = fetched(script, limits).await else {
        return;
    };
    let cut = fetched.unwrap().cut.unwrap();
    assert!(
        cut.ends_with("more than 100; they were not brought back"),
        "{cut}"
    );
    // rsync may have begun with the first ones when it is ended.
    let out = server.dir.join("fetched/out");
    let came = out.read_dir_utf8().map_or(0, Iterator::count);
    assert!(came < 3000, "{came}");
}

#[tokio::test]
async fn free_space_is_kept() {
    let limits = Limits {
        free_bytes: u64::MAX,
        ..Limits::default()
    };
    let Some((_server, fetched)) = fetched("mkdir out; echo x >out/x", limits).await else {
        return;
    };
    let cut = fetched.unwrap().cut.unwrap();
    assert!(cut.contains("are free here"), "{cut}");
}

/// A connection that ends after any number of bytes is an error of the connection, never an answer and never a hang.
#[tokio::test]
async fn connection_cut_at_any_point_is_an_error() {
    let Some(server) = Sshd::start("").await else {
        return;
    };
    let whole = Cut::before(server.target.port, u64::MAX);
    let words = Command::new(["printf", "whole"]);
    let through = |cut: &Cut| model::world::Target {
        port: cut.port,
        ..server.target.clone()
    };
    let session = server.ssh.connect(&through(&whole)).await.unwrap();
    assert_eq!(session.run(&words).await.unwrap().stdout, b"whole");
    drop(session);
    let all = whole.carried();
    let mut mute = 0;
    for bytes in (0..all).step_by(usize::try_from(all / 24).unwrap()) {
        let cut = Cut::before(server.target.port, bytes);
        let outcome = match server.ssh.connect(&through(&cut)).await {
            Ok(session) => session.run(&words).await,
            Err(error) => Err(error),
        };
        match outcome {
            // All of the answer may have come before the cut.
            Ok(output) => assert_eq!(output.stdout, b"whole", "cut after {bytes} of {all}"),
            // A server that never greeted may be the way to a box that boots; one that did is a bad server.
            Err(RemoteError::Mute { greeted, .. }) => {
                assert_eq!(greeted, bytes >= 4, "cut after {bytes} of {all}");
                mute += 1;
            }
            Err(error) => assert!(
                matches!(error, RemoteError::Lost(_)),
                "cut after {bytes} of {all}: {error:?}"
            ),
        }
    }
    assert!(mute >= 2, "{mute}");
}
