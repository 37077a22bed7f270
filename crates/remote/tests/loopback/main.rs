//! The whole way over a real SSH server on loopback: connect, run, sync, fetch, and everything that goes wrong.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::symlink,
    process,
    sync::Arc,
    thread,
};

use camino::Utf8Path;
use model::{
    error::RemoteError,
    limits::{Budget, Limits},
    source::{Source, Synced},
    world::{Command, Progress, Remote, Session, Silent, Target},
};

mod sshd;
use sshd::Sshd;

macro_rules! server {
    ($more:expr) => {
        match Sshd::start($more).await {
            Some(server) => server,
            None => return,
        }
    };
}

async fn stdout(session: &Arc<dyn Session>, argv: &[&str]) -> String {
    let output = session.run(&Command::new(argv.iter().copied())).await.unwrap();
    assert_eq!(
        output.code,
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn sh(dir: &Utf8Path, script: &str) {
    let status = process::Command::new("sh")
        .args(["-euc", script])
        .current_dir(dir)
        .status()
        .unwrap();
    assert!(status.success(), "{script}");
}

fn source(server: &Sshd) -> Source {
    let path = server.dir.join("source");
    fs::create_dir_all(&path).unwrap();
    Source {
        name: "mvm".to_owned(),
        user: "dev".to_owned(),
        path,
    }
}

async fn sync(session: &Arc<dyn Session>, source: &Source) -> Synced {
    session.sync(source, &Silent).await.unwrap()
}

#[tokio::test]
async fn commands_get_their_words_and_input_and_give_back_their_end() {
    let server = server!("");
    let session = server.ssh.connect(&server.target).await.unwrap();
    let words = [
        "printf", "%s|", "a b", "it's", "$HOME", "*", "", "-n", "a\nb", "ü",
    ];
    assert_eq!(stdout(&session, &words).await, "a b|it's|$HOME|*||-n|a\nb|ü|");
    let big = vec![b'x'; 300_000];
    let output = session
        .run(&Command::new(["cat"]).with_stdin(big.clone()))
        .await
        .unwrap();
    assert_eq!(output.stdout, big);
    let output = session
        .run(&Command::new(["sh", "-c", "echo out; echo err >&2; exit 3"]))
        .await
        .unwrap();
    assert_eq!(
        (output.code, &*output.stdout, &*output.stderr),
        (Some(3), &b"out\n"[..], &b"err\n"[..])
    );
    let output = session.run(&Command::new(["no-such-program"])).await.unwrap();
    assert_eq!(output.code, Some(127));
    let output = session
        .run(&Command::new(["sh", "-c", "kill -9 $$"]))
        .await
        .unwrap();
    assert!(matches!(output.code, None | Some(137)), "{output:?}");
    // What is not read does no harm.
    let output = session
        .run(&Command::new(["true"]).with_stdin(big))
        .await
        .unwrap();
    assert_eq!(output.code, Some(0));
}

#[tokio::test]
async fn other_host_key_is_an_impostor_until_it_is_pinned() {
    let server = server!("");
    let label = &server.target.label;
    let own = server.ssh.keys(label).await.unwrap();
    server
        .ssh
        .pin(label, std::slice::from_ref(&own.login_public))
        .await
        .unwrap();
    let refused = server.ssh.connect(&server.target).await.err();
    assert!(matches!(refused, Some(RemoteError::Impostor(_))), "{refused:?}");
    let said = refused.unwrap().to_string();
    assert!(
        said.contains("somebody else answers at the box's address") && said.contains("it shows SHA256:"),
        "{said}"
    );
    // OpenSSH's advice is to remove what protects.
    assert!(!said.contains("ssh-keygen"), "{said}");
    server.ssh.pin(label, &[own.host_public]).await.unwrap();
    server.ssh.connect(&server.target).await.unwrap();
}

#[tokio::test]
async fn unknown_login_key_is_refused() {
    let server = server!("");
    fs::write(server.dir.join("authorized"), "").unwrap();
    let refused = server.ssh.connect(&server.target).await.err();
    assert!(matches!(refused, Some(RemoteError::Refused(_))), "{refused:?}");
}

#[tokio::test]
async fn server_that_speaks_no_ssh_of_ours_is_named() {
    let server = server!("");
    for said in [
        "\0\0\0\0\n".to_owned(),
        "SSH-1.5-old\r\n".to_owned(),
        "hello\r\n".repeat(2000),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target {
            port: listener.local_addr().unwrap().port(),
            ..server.target.clone()
        };
        thread::spawn(move || {
            for client in listener.incoming() {
                let said = said.clone();
                thread::spawn(move || {
                    let mut client = client.unwrap();
                    let _ = client.write_all(said.as_bytes());
                    // Until the client hangs up: a reset would take the words along.
                    let _ = client.read_to_end(&mut Vec::new());
                });
            }
        });
        let error = server.ssh.connect(&target).await.err();
        assert!(matches!(error, Some(RemoteError::NotSsh(_))), "{error:?}");
    }
}

#[tokio::test]
async fn lost_connection_is_noticed_by_command_and_sync() {
    let mut server = server!("");
    let session = server.ssh.connect(&server.target).await.unwrap();
    let waiting = {
        let session = Arc::clone(&session);
        tokio::spawn(async move {
            session
                .run(&Command::new(["sh", "-c", "echo; exec sleep 600"]))
                .await
        })
    };
    // The command runs once the connection has a second channel.
    stdout(&session, &["true"]).await;
    server.stop();
    let lost = waiting.await.unwrap();
    assert!(matches!(lost, Err(RemoteError::Lost(_))), "{lost:?}");
    let lost = session.run(&Command::new(["true"])).await;
    assert!(matches!(lost, Err(RemoteError::Lost(_))), "{lost:?}");
    let lost = session.sync(&source(&server), &Silent).await;
    assert!(matches!(lost, Err(RemoteError::Lost(_))), "{lost:?}");
    let gone = server.ssh.connect(&server.target).await.err();
    assert!(matches!(gone, Some(RemoteError::Unreachable(_))), "{gone:?}");
}

#[tokio::test]
async fn dropped_session_closes_the_connection() {
    let server = server!("");
    let session = server.ssh.connect(&server.target).await.unwrap();
    let control = server.dir.join("state/c");
    let sockets = || fs::read_dir(&control).unwrap().count();
    assert_eq!(sockets(), 1);
    drop(session);
    assert_eq!(sockets(), 0);
}

#[tokio::test]
async fn server_that_gives_one_channel_is_used_plainly_for_the_second() {
    let server = server!("MaxSessions 1\n");
    let session = server.ssh.connect(&server.target).await.unwrap();
    let pipe = server.dir.join("pipe");
    sh(&server.dir, "mkfifo pipe");
    // Each of the two opens the pipe only together with the other.
    let (reads, writes) = (
        Command::new(["cat", pipe.as_str()]),
        Command::new(["sh", "-c", "echo x > \"$1\"", "sh", pipe.as_str()]),
    );
    let (read, written) = tokio::join!(session.run(&reads), session.run(&writes));
    assert_eq!(read.unwrap().stdout, b"x\n");
    assert_eq!(written.unwrap().code, Some(0));
}

#[tokio::test]
async fn sync_follows_git_and_leaves_what_was_built() {
    let server = server!("");
    let source = source(&server);
    let session = server.ssh.connect(&server.target).await.unwrap();
    sh(
        &source.path,
        "git init -q; mkdir -p src/deep target; echo target/ > .gitignore; echo a > src/deep/a; echo b > '#b'
         echo c > '-c d'; ln -s src/deep link; echo x > target/x; chmod +x '#b'; git add -A",
    );
    let synced = sync(&session, &source).await;
    assert_eq!((synced.files, synced.sent, synced.deleted), (5, 4, 0));
    assert!(synced.bytes > 0);
    let there = server.dir.join("home/dev/mvm");
    sh(
        &there,
        "test -x '#b'; test -f ./'-c d'; test -L link; test ! -e target; mkdir target; echo o > target/o",
    );

    let synced = sync(&session, &source).await;
    assert_eq!((synced.files, synced.sent, synced.deleted), (5, 0, 0));

    sh(
        &source.path,
        "rm -r src; echo file > src; rm '#b'; mkdir '#b'; echo in > '#b/in'; rm link; echo new > link",
    );
    let synced = sync(&session, &source).await;
    assert_eq!((synced.files, synced.sent, synced.deleted), (5, 3, 2));
    sh(
        &there,
        "test \"$(cat src)\" = file; test -f '#b/in'; test ! -L link; test -f link; test -f target/o",
    );
}

/// A branch switch, a stash and an archive bring back files with old times; cargo compares times.
#[tokio::test]
async fn sent_file_is_younger_than_what_was_built_before() {
    let server = server!("");
    let source = source(&server);
    let session = server.ssh.connect(&server.target).await.unwrap();
    sh(
        &source.path,
        "printf '[package]\\nname = \"x\"\\nversion = \"0.1.0\"\\nedition = \"2024\"\\n' > Cargo.toml; mkdir src
         echo 'fn main() { print!(\"one\"); }' > src/main.rs; echo same > same; touch -d 2020-01-01 same src/main.rs",
    );
    let there = server.dir.join("home/dev/mvm");
    let built = || {
        let mut cargo = process::Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        cargo.args(["run", "--quiet", "--offline"]).current_dir(&there);
        let output = cargo.env_remove("CARGO_TARGET_DIR").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let time = |path: &str| fs::metadata(there.join(path)).unwrap().modified().unwrap();
    sync(&session, &source).await;
    assert_eq!(built(), "one");
    let same = time("same");

    // As big as before, and older than the build.
    sh(
        &source.path,
        "echo 'fn main() { print!(\"two\"); }' > src/main.rs; touch -d 2021-01-01 src/main.rs",
    );
    assert_eq!(sync(&session, &source).await.sent, 1);
    assert_eq!(built(), "two");
    assert_eq!(time("same"), same, "what did not change keeps its time");

    // Nothing changes: nothing is sent again, and nothing becomes younger.
    let two = time("src/main.rs");
    assert_eq!(sync(&session, &source).await.sent, 0);
    assert_eq!(time("src/main.rs"), two);

    // What the box itself has changed is made equal again.
    sh(&there, "echo 'fn main() { print!(\"box\"); }' > src/main.rs");
    assert_eq!(built(), "box");
    assert_eq!(sync(&session, &source).await.sent, 1);
    assert_eq!(built(), "two");
    assert!(time("src/main.rs") > two);
}

#[tokio::test]
async fn sync_knows_the_list_of_an_earlier_client() {
    let server = server!("");
    let source = source(&server);
    sh(&source.path, "mkdir a; touch a/old keep");
    sync(&server.ssh.connect(&server.target).await.unwrap(), &source).await;
    sh(&source.path, "rm -r a");
    let synced = sync(&server.ssh.connect(&server.target).await.unwrap(), &source).await;
    assert_eq!(synced.deleted, 1);
    assert!(!server.dir.join("home/dev/mvm/a").exists());
    assert!(server.dir.join("home/dev/mvm/keep").exists());
}

#[tokio::test]
async fn unreadable_source_is_said() {
    let server = server!("");
    let session = server.ssh.connect(&server.target).await.unwrap();
    let missing = Source {
        name: "x".to_owned(),
        user: "dev".to_owned(),
        path: server.dir.join("missing"),
    };
    let error = session.sync(&missing, &Silent).await.unwrap_err();
    assert!(
        error.to_string().contains("missing is not a directory"),
        "{error}"
    );
    let hostile = Source {
        name: "../x".to_owned(),
        ..source(&server)
    };
    assert!(matches!(
        session.sync(&hostile, &Silent).await,
        Err(RemoteError::Here(_))
    ));
}

#[tokio::test]
async fn directory_is_sent_whole_and_follows_deletions() {
    let server = server!("");
    let session = server.ssh.connect(&server.target).await.unwrap();
    let from = source(&server).path;
    let to = server.dir.join("some/where");
    sh(
        &from,
        "mkdir -p target .git; echo 1 > target/a; echo 2 > .git/b; ln -s a target/link",
    );
    let sent = session.send_dir(&from, to.as_str(), &Silent).await.unwrap();
    assert_eq!(sent.sent, 2);
    sh(&to, "test -f target/a; test -f .git/b; test -L target/link");
    sh(&from, "rm -r .git; mkdir tools; ln -s ../target/a tools/linked");
    let files = ["target/a", "tools/linked"].map(|name| from.join(name));
    let beside = to.join("beside");
    session
        .send_files(&files, beside.as_str(), &Silent)
        .await
        .unwrap();
    sh(&beside, "test -f a; test -f linked; test ! -L linked");
    session.send_dir(&from, to.as_str(), &Silent).await.unwrap();
    assert!(!to.join(".git").exists());
}

#[tokio::test]
async fn fetch_brings_what_is_there_and_no_links() {
    let server = server!("");
    let session = server.ssh.connect(&server.target).await.unwrap();
    let (box_dir, to) = (server.dir.join("box"), server.dir.join("fetched"));
    fs::create_dir_all(box_dir.join("out/deep")).unwrap();
    fs::write(box_dir.join("out/deep/junit [1]*.xml"), "x").unwrap();
    fs::write(box_dir.join("log"), "y").unwrap();
    symlink("/etc", box_dir.join("out/etc")).unwrap();
    let asked = [
        format!("{box_dir}/./out"),
        format!("{box_dir}/log"),
        format!("{box_dir}/missing"),
        format!("{box_dir}/./out/etc/passwd*"),
    ];
    let came = session
        .fetch(
            &asked,
            &to,
            (&Limits::default(), &Budget::new(&Limits::default())),
        )
        .await
        .unwrap();
    assert_eq!(came.paths, asked[..2]);
    assert_eq!(came.cut, None);
    assert_eq!(fs::read(to.join("out/deep/junit [1]*.xml")).unwrap(), b"x");
    assert_eq!(fs::read(to.join(format!(".{box_dir}/log"))).unwrap(), b"y");
    assert!(!to.join("out/etc").exists());
    let out = ["../x".to_owned()];
    assert!(
        session
            .fetch(&out, &to, (&Limits::default(), &Budget::new(&Limits::default())))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn copy_that_nobody_waits_for_dies() {
    let server = server!("");
    let session = server.ssh.connect(&server.target).await.unwrap();
    let from = source(&server).path;
    let file = fs::File::create(from.join("big")).unwrap();
    file.set_len(1 << 32).unwrap();
    let (started, seen) = tokio::sync::oneshot::channel();
    struct First(std::sync::Mutex<Option<tokio::sync::oneshot::Sender<()>>>);
    impl Progress for First {
        fn report(&self, _: &str, _: Option<(u64, u64)>) {
            self.0.lock().unwrap().take().map(|sender| sender.send(()));
        }
    }
    let progress = First(std::sync::Mutex::new(Some(started)));
    let to = server.dir.join("big");
    {
        let copy = session.send_dir(&from, to.as_str(), &progress);
        tokio::pin!(copy);
        tokio::select! {
            ended = &mut copy => panic!("the copy ended: {ended:?}"),
            seen = seen => seen.unwrap(),
        }
    }
    while rsyncs_of(process::id()) > 0 {
        tokio::task::yield_now().await;
    }
    stdout(&session, &["true"]).await;
}

fn rsyncs_of(process: u32) -> usize {
    let listed = process::Command::new("ps")
        .args(["-o", "stat=,comm=", "--ppid", &process.to_string()])
        .output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    text.lines()
        .filter(|line| line.contains("rsync") && !line.starts_with('Z'))
        .count()
}

#[tokio::test]
async fn interactive_command_reaches_the_box_by_the_same_keys() {
    let server = server!("");
    let argv = server
        .ssh
        .interactive(&server.target, &["echo here".to_owned()])
        .unwrap();
    let output = process::Command::new(&argv[0])
        .args(&argv[1..])
        .env("HOME", "/nonexistent")
        .stdin(process::Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        output.stdout,
        b"here\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The bastion knows another login key than the box, and has another host key: each is checked by its own.
#[tokio::test]
async fn box_behind_another_machine_is_reached_with_the_operators_own_ssh() {
    let server = server!("");
    let Some(mut bastion) = Sshd::start("").await else {
        return;
    };
    let keys = bastion.ssh.keys(&bastion.target.label).await.unwrap();
    let host_key = keys.host_public.rsplit_once(' ').unwrap().0.to_owned();
    let (known, config) = (bastion.dir.join("known"), bastion.dir.join("operator"));
    let port = bastion.target.port;
    fs::write(&known, format!("[127.0.0.1]:{port} {host_key}\n")).unwrap();
    let text = format!(
        "Host bastion\n HostName 127.0.0.1\n IdentityFile {}\n IdentitiesOnly yes\n UserKnownHostsFile {known}\n",
        keys.login_file
    );
    fs::write(&config, text).unwrap();
    let ssh = server.ssh.clone().with_jump_config(config);
    let user = &bastion.target.user;
    let target = Target {
        jump: Some(format!("{user}@bastion:{port}").parse().unwrap()),
        ..server.target.clone()
    };
    let session = ssh.connect(&target).await.unwrap();
    assert_eq!(stdout(&session, &["echo", "hello"]).await, "hello\n");
    let source = source(&server);
    sh(&source.path, "git init -q; echo one > a");
    assert_eq!(sync(&session, &source).await.files, 1);
    let log = fs::read_to_string(bastion.dir.join("sshd.log")).unwrap();
    assert!(log.contains("Accepted publickey"), "{log}");
    let argv = ssh.interactive(&target, &["echo there".to_owned()]).unwrap();
    let output = process::Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
    assert_eq!(output.stdout, b"there\n", "{output:?}");
    drop(session);

    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let gone = Target {
        port: nobody,
        ..target.clone()
    };
    let error = ssh.connect(&gone).await.err();
    assert!(
        matches!(&error, Some(RemoteError::Unreachable(why)) if why.contains("through")),
        "{error:?}"
    );
    fs::write(&known, "").unwrap();
    let error = ssh.connect(&target).await.err();
    assert!(
        matches!(&error, Some(RemoteError::Here(why)) if why.contains("Host key verification")),
        "{error:?}"
    );
    bastion.stop();
    let error = ssh.connect(&target).await.err();
    assert!(matches!(error, Some(RemoteError::Unreachable(_))), "{error:?}");
}
