//! A machine that is already there, in a directory: what `host.sh` changes is under it, and the programs with which
//! it does so are stand-ins. Where a test wants to come over SSH, a real sshd on loopback leads to it.

use std::{
    fs,
    io::Write as _,
    net::{TcpListener, TcpStream},
    os::unix::{
        fs::{PermissionsExt, symlink},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};

const SSHD: &str = "/usr/sbin/sshd";

/// What the stand-ins stand in for.
const FAKES: [&str; 20] = [
    "getent",
    "id",
    "sudo",
    "useradd",
    "userdel",
    "groupadd",
    "groupdel",
    "usermod",
    "gpasswd",
    "sshd",
    "systemctl",
    "systemd-run",
    "mountpoint",
    "modprobe",
    "chown",
    "runuser",
    "umount",
    "dpkg",
    "dpkg-query",
    "sync",
];

/// A machine.
pub(crate) struct Machine {
    temp: tempfile::TempDir,
    sshd: Option<Child>,
    port: u16,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let machine = Self {
            temp: tempfile::tempdir().unwrap(),
            sshd: None,
            port: 0,
        };
        for dir in [
            "var/lib",
            "etc/ssh",
            "etc/systemd/system",
            "etc/skel",
            "usr/local/lib",
            "opt",
            "home",
            "run/systemd/system",
            "root",
            "fakes",
            "fake/passwd",
            "fake/group",
            "fake/active",
            "fake/package",
            "ssh",
        ] {
            fs::create_dir_all(machine.path(dir)).unwrap();
        }
        machine.write("fake/passwd/root", "/root\n");
        machine.write("fake/group/kvm", "");
        machine.write("etc/ssh/ssh_host_ed25519_key", "private\n");
        machine.write(
            "etc/ssh/ssh_host_ed25519_key.pub",
            "ssh-ed25519 AAAAhost root@desk\n",
        );
        machine.write("etc/os-release", "NAME=x\nPRETTY_NAME=\"Desk OS 1\"\n");
        machine.write("etc/skel/.profile", "# skel\n");
        let fake = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/host/fake.sh");
        for name in FAKES {
            symlink(&fake, machine.path("fakes").join(name)).unwrap();
        }
        machine
    }

    pub(crate) fn root(&self) -> &Utf8Path {
        Utf8Path::from_path(self.temp.path()).unwrap()
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.temp.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    pub(crate) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub(crate) fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    fn environment(&self) -> [(&str, String); 2] {
        let path = format!("{}:{}", self.root().join("fakes"), std::env::var("PATH").unwrap());
        [("TWOLANE_ROOT", self.root().to_string()), ("PATH", path)]
    }

    /// Calls `host.sh` there, in a process group of its own. Returns what it answers, and what it complains of.
    pub(crate) fn call(&self, words: &[&str]) -> (String, String) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops/ephemeral/host.sh");
        let output = Command::new("bash")
            .arg(script)
            .args(words)
            .envs(self.environment())
            .env("TWOLANE_KVM", "/dev/no-such-kvm")
            .stdin(Stdio::null())
            .process_group(0)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr))
    }

    /// Returns every file with its kind, mode and content, and each line that says who is there; not what is written
    /// for the test, nor what is gone with the next boot anyway.
    pub(crate) fn everything(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut dirs = vec![self.temp.path().to_owned()];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).unwrap().flatten() {
                let path = entry.path();
                let name = path.strip_prefix(self.temp.path()).unwrap().display().to_string();
                if ["orders", "run", "ssh", "die-at", "sshd.log"].contains(&name.as_str()) {
                    continue;
                }
                let metadata = path.symlink_metadata().unwrap();
                let content = match metadata.is_file() {
                    true => String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
                    false => String::new(),
                };
                all.push(format!("{name} {:o} {content:?}", metadata.permissions().mode()));
                if metadata.is_dir() {
                    dirs.push(path);
                }
            }
        }
        all.sort();
        all
    }

    /// Has a real sshd lead to it; none when that is not installed, which is said aloud.
    pub(crate) fn serve(&mut self) -> Option<()> {
        if !Path::new(SSHD).exists() {
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: {SSHD} is not installed (package openssh-server)"
            );
            return None;
        }
        if user() == "root" {
            // sshd wants it when root starts it, and only its package's service makes it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        for name in ["host_key", "login_key"] {
            let file = self.path("ssh").join(name);
            let status = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&file)
                .status()
                .unwrap();
            assert!(status.success());
        }
        fs::copy(self.path("ssh/login_key.pub"), self.path("ssh/authorized")).unwrap();
        let ssh = self.root().join("ssh");
        let [(_, root), (_, path)] = self.environment();
        let config = format!(
            "SetEnv HOME={root}/root TWOLANE_ROOT={root} PATH={path}\nListenAddress 127.0.0.1\nHostKey {ssh}/host_key\n\
             AuthorizedKeysFile {ssh}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPidFile none\nPermitRootLogin prohibit-password\nUseDNS no\n"
        );
        fs::write(self.path("ssh/sshd_config"), config).unwrap();
        let (child, port) = start(&ssh);
        (self.sshd, self.port) = (Some(child), port);
        self.know(&fs::read_to_string(self.path("ssh/host_key.pub")).unwrap());
        let client = format!(
            "Host *\n  UserKnownHostsFile {ssh}/known_hosts\n  GlobalKnownHostsFile /dev/null\n  IdentityFile {ssh}/login_key\n  \
             IdentitiesOnly yes\n  IdentityAgent none\n"
        );
        fs::write(self.path("ssh/config"), client).unwrap();
        Some(())
    }

    /// Makes that the only host key that the operator knows of it.
    pub(crate) fn know(&self, key: &str) {
        self.write("ssh/known_hosts", &format!("[127.0.0.1]:{} {key}", self.port()));
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn address(&self) -> String {
        format!("{}@127.0.0.1:{}", user(), self.port())
    }

    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.sshd.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn user() -> String {
    let output = Command::new("/usr/bin/id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn start(dir: &Utf8PathBuf) -> (Child, u16) {
    loop {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut child = Command::new(SSHD)
            .args([
                "-D",
                "-e",
                "-f",
                dir.join("sshd_config").as_str(),
                "-p",
                &port.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.join("sshd.log")).unwrap())
            .spawn()
            .unwrap();
        loop {
            if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return (child, port);
            }
            if child.try_wait().unwrap().is_some() {
                let log = fs::read_to_string(dir.join("sshd.log")).unwrap();
                assert!(
                    log.contains("Address already in use"),
                    "sshd does not start: {log}"
                );
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}
