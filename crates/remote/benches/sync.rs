//! Measures `Session::sync` against plain `rsync -a -e ssh` over the same warm connection, side by side, and
//! prints a Markdown table. `cargo bench -p remote`.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    source::Source,
    world::{Remote, Silent},
};

#[path = "../tests/loopback/sshd.rs"]
mod sshd;

const ROUNDS: usize = 7;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let Some(server) = sshd::Sshd::start("").await else {
        return;
    };
    let session = server.ssh.connect(&server.target).await.unwrap();
    let mut table =
        String::from("| tree | change | plain rsync | sync | ratio |\n| --- | --- | --- | --- | --- |\n");
    for files in [600, 30_000] {
        let source = Source {
            name: format!("t{files}"),
            user: "dev".to_owned(),
            path: tree(&server.dir, files),
        };
        let plain = Plain::new(&server, &source);
        plain.run();
        session.sync(&source, &Silent).await.unwrap();
        for change in ["none", "one file"] {
            let (mut by_plain, mut by_sync) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                // Each in turn goes first, as the second finds warmer caches.
                for is_plain in [round % 2 == 0, round % 2 == 1] {
                    if change == "one file" {
                        fs::write(source.path.join("d0/f0.rs"), format!("{round} {is_plain}")).unwrap();
                    }
                    let start = Instant::now();
                    if is_plain {
                        plain.run();
                        by_plain.push(start.elapsed());
                    } else {
                        session.sync(&source, &Silent).await.unwrap();
                        by_sync.push(start.elapsed());
                    }
                }
            }
            let (plain, sync) = (median(by_plain), median(by_sync));
            let ratio = sync.as_secs_f64() / plain.as_secs_f64();
            writeln!(
                table,
                "| {files} files | {change} | {plain:.0?} | {sync:.0?} | {ratio:.2} |"
            )
            .unwrap();
        }
    }
    std::io::stdout().write_all(table.as_bytes()).unwrap();
}

/// Makes a checkout of that many files, and as many ignored ones as builds leave.
fn tree(dir: &Utf8Path, files: usize) -> Utf8PathBuf {
    let root = dir.join(format!("tree{files}"));
    for index in 0..files {
        let below = root.join(format!("d{}", index / 30));
        fs::create_dir_all(&below).unwrap();
        fs::write(
            below.join(format!("f{index}.rs")),
            format!("fn f{index}() {{}}\n"),
        )
        .unwrap();
    }
    for args in [&["init", "-q"][..], &["add", "-A"]] {
        assert!(
            Command::new("git")
                .args(args)
                .current_dir(&root)
                .status()
                .unwrap()
                .success()
        );
    }
    root
}

/// The same copy by hand.
struct Plain {
    from: String,
    to: String,
    rsh: String,
}

impl Plain {
    fn new(server: &sshd::Sshd, source: &Source) -> Self {
        let control = fs::read_dir(server.dir.join("state/c"))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let config = server.dir.join("state/boxes/m1/ssh/config");
        Self {
            from: format!("{}/", source.path),
            to: format!("m1:{}/plain-{}/", server.dir, source.name),
            rsh: format!(
                "ssh -F {config} -S {}/master -o ControlMaster=no",
                control.display()
            ),
        }
    }

    fn run(&self) {
        let mut command = Command::new("rsync");
        command.args(["-a", "--exclude=/.git", "-e", &self.rsh, &self.from, &self.to]);
        assert!(command.status().unwrap().success());
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
