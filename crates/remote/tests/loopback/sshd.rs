//! An SSH server of the current user on loopback, for one test or one measurement.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    name::Label,
    world::{Remote, Target},
};
use remote::{Layout, Ssh};

const SSHD: &str = "/usr/sbin/sshd";

/// A server that knows the keys of one label, and all that belongs to it.
pub(crate) struct Sshd {
    child: Child,
    /// Leads to it.
    pub(crate) target: Target,
    /// Connects to it.
    pub(crate) ssh: Ssh,
    /// A directory for the test.
    pub(crate) dir: Utf8PathBuf,
    _temp: tempfile::TempDir,
}

impl Sshd {
    /// Starts one with more configuration, in which `{dir}` is the test's directory; none when sshd is not installed, which is said aloud.
    pub(crate) async fn start(more: &str) -> Option<Self> {
        if !Utf8Path::new(SSHD).exists() {
            say(&format!(
                "SKIPPED: {SSHD} is not installed (package openssh-server)"
            ));
            return None;
        }
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8PathBuf::from_path_buf(temp.path().to_owned()).unwrap();
        let layout = Layout {
            root: dir.to_string(),
            has_users: false,
            manifests: dir.join("manifest").to_string(),
        };
        fs::create_dir_all(dir.join("home/dev")).unwrap();
        let ssh = Ssh::new(dir.join("state")).with_layout(layout);
        let label = Label::new("m1").unwrap();
        let keys = ssh.keys(&label).await.unwrap();
        fs::write(dir.join("authorized"), &keys.login_public).unwrap();
        let (child, port) = serve(&dir, keys.login_file.parent().unwrap(), more);
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let target = Target {
            label,
            address,
            port,
            jump: None,
            user: user(),
        };
        Some(Self {
            child,
            target,
            ssh,
            dir,
            _temp: temp,
        })
    }

    /// Stops it, and every connection with it.
    pub(crate) fn stop(&mut self) {
        for child in children(self.child.id()) {
            let _ = Command::new("kill").args(["-9", &child.to_string()]).status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns a process's descendants.
pub(crate) fn children(of: u32) -> Vec<u32> {
    let listed = Command::new("ps")
        .args(["-o", "pid=", "--ppid", &of.to_string()])
        .output()
        .unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    let direct: Vec<u32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    direct
        .iter()
        .flat_map(|pid| [vec![*pid], children(*pid)].concat())
        .collect()
}

/// Writes a line where a person sees it even when the test passes.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn serve(dir: &Utf8Path, keys: &Utf8Path, more: &str) -> (Child, u16) {
    if user() == "root" {
        // sshd wants it when root starts it, and only its package's service makes it.
        fs::create_dir_all("/run/sshd").unwrap();
    }
    let config = dir.join("sshd_config");
    let host_key = keys.join("host_key");
    let authorized = dir.join("authorized");
    // A home of its own: what a login shell does by somebody's start-up files is none of the test's business.
    let more = more.replace("{dir}", dir.as_str());
    let text = format!(
        "SetEnv HOME={dir}\nListenAddress 127.0.0.1\nHostKey {host_key}\nAuthorizedKeysFile {authorized}\nStrictModes no\n\
         UsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPidFile none\n\
         PermitRootLogin prohibit-password\nUseDNS no\n{more}\n"
    );
    fs::write(&config, text).unwrap();
    loop {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let mut child = Command::new(SSHD)
            .args(["-D", "-e", "-f", config.as_str(), "-p", &port.to_string()])
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
