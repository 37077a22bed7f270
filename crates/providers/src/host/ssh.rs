//! The way to a machine that is already there: the operator's own ssh, configuration and `known_hosts`.

use std::{io, net::SocketAddr, process::Stdio, time::Duration};

use camino::Utf8PathBuf;
use model::{error::ErrorKind, host::Address, text::last_words};
use tokio::{io::AsyncWriteExt, process::Command, time::timeout};

use super::{error::HostError, script::Answer};
use crate::child;

/// What OpenSSH exits with when it is the connection that failed.
const SSH_FAILED: i32 = 255;

/// What the operator's configuration may not change: an unknown host key is refused, nothing is asked, forwarded or left
/// running behind.
const OPTIONS: [&str; 13] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=15",
    "ConnectionAttempts=1",
    "ServerAliveInterval=15",
    "ServerAliveCountMax=4",
    "ControlMaster=no",
    "ForwardAgent=no",
    "ForwardX11=no",
    "ClearAllForwardings=yes",
    "PermitLocalCommand=no",
    "RemoteCommand=none",
    "RequestTTY=no",
];

/// Becomes root, and reads what to do. Works in every login shell: it is one quoted word to it.
const BECOME_ROOT: &str = r#"sh -c 'if [ "$(id -u)" = 0 ]; then exec bash -s -- "$SSH_CONNECTION"; fi
if sudo -n true 2>/dev/null; then exec sudo -n bash -s -- "$SSH_CONNECTION"; fi
echo "no-root $(id -un)"'"#;

/// The way to one machine.
pub(crate) struct Way {
    pub(crate) address: Address,
    /// Takes the place of the operator's own configuration.
    pub(crate) config: Option<Utf8PathBuf>,
}

impl Way {
    fn ssh(&self, more: &[&str]) -> Command {
        let mut ssh = Command::new("ssh");
        // The operator's configuration may send variables (`SendEnv`).
        child::clean(ssh.as_std_mut());
        if let Some(config) = &self.config {
            ssh.args(["-F", config.as_str()]);
        }
        ssh.args(more);
        for option in OPTIONS {
            ssh.args(["-o", option]);
        }
        if let Some(port) = self.address.port {
            ssh.args(["-p", &port.to_string()]);
        }
        if let Some(user) = &self.address.user {
            ssh.args(["-l", user]);
        }
        ssh.args(["--", &self.address.machine]);
        ssh.kill_on_drop(true);
        ssh
    }

    /// Returns where the machine answers, as the operator's configuration has it.
    pub(crate) async fn resolve(&self) -> Result<SocketAddr, HostError> {
        let output = self
            .ssh(&["-G"])
            .stdin(Stdio::null())
            .output()
            .await
            .map_err(no_ssh)?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            return Err(
                HostError::invalid(last_words(&String::from_utf8_lossy(&output.stderr)))
                    .with_help(format!("see what `ssh {}` says", self.address)),
            );
        }
        let (machine, port) = self.direct(&said)?;
        let unknown = |why: String| {
            HostError::new(
                ErrorKind::NotFound,
                format!("the name {machine} leads nowhere: {why}"),
            )
            .with_help("correct the address")
        };
        let mut found = tokio::net::lookup_host((machine.as_str(), port))
            .await
            .map_err(|error| unknown(error.to_string()))?;
        found
            .next()
            .ok_or_else(|| unknown("it has no address".to_owned()))
    }

    /// Reads name and port out of what `ssh -G` says. What lies behind another machine is not reached.
    fn direct(&self, said: &str) -> Result<(String, u16), HostError> {
        let value = |key: &str| {
            said.lines()
                .filter_map(|line| line.split_once(' '))
                .find(|(name, _)| *name == key)
                .map(|(_, value)| value.trim())
        };
        for key in ["proxyjump", "proxycommand"] {
            if let Some(through) = value(key).filter(|through| *through != "none") {
                return Err(HostError::invalid(format!(
                    "{} is reached through `{through}`, and each box is connected to directly",
                    self.address
                ))
                .with_help(format!(
                    "forward a port to it, `ssh -N -L 2222:localhost:22 {}`, and name it user@localhost:2222",
                    self.address.machine
                )));
            }
        }
        let port = value("port").and_then(|port| port.parse().ok()).unwrap_or(22);
        Ok((
            value("hostname").unwrap_or(&self.address.machine).to_owned(),
            port,
        ))
    }

    /// Runs a script there as root, and returns its answer.
    pub(crate) async fn run(&self, script: &str, limit: Duration) -> Result<Answer, HostError> {
        match timeout(limit, self.ran(script)).await {
            Ok(answer) => answer,
            Err(_) => Err(HostError::unanswered(format!(
                "{} did not answer within {} s",
                self.address,
                limit.as_secs()
            ))),
        }
    }

    async fn ran(&self, script: &str) -> Result<Answer, HostError> {
        let mut child = self
            .ssh(&["-T"])
            .arg(BECOME_ROOT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(no_ssh)?;
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // Whoever does not read it says why.
                let _ = stdin.write_all(script.as_bytes()).await;
                let _ = stdin.shutdown().await;
            }
        };
        let (_, output) = tokio::join!(feed, child.wait_with_output());
        let output = output.map_err(no_ssh)?;
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        let answer = Answer::parse(&stdout);
        if let Some(user) = answer.one("no-root") {
            return Err(no_root(&self.address, user));
        }
        if answer.is_whole() {
            return answer.kept();
        }
        if output.status.code() == Some(SSH_FAILED) {
            return Err(match stdout.is_empty() {
                true => of_connection(&self.address, &stderr),
                false => HostError::unanswered(format!("the connection was lost: {}", last_words(&stderr))),
            });
        }
        Err(of_script(&self.address, &stderr))
    }
}

fn no_ssh(error: io::Error) -> HostError {
    if error.kind() == io::ErrorKind::NotFound {
        return HostError::invalid("`ssh` is not installed on this machine")
            .with_help("install it: apt-get install openssh-client");
    }
    HostError::invalid(format!("`ssh` cannot be run: {error}"))
}

fn no_root(address: &Address, user: &str) -> HostError {
    HostError::new(
        ErrorKind::Unauthorized,
        format!("{user} is not root on {address}, and `sudo` asks for a password or is not there"),
    )
    .with_help(format!(
        "name root's login, or let {user} use `sudo` without a password (NOPASSWD: ALL in sudoers)"
    ))
}

/// Says what ssh's own words mean.
fn of_connection(address: &Address, words: &str) -> HostError {
    let said = last_words(words);
    let says = |phrase: &str| words.contains(phrase);
    if says("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        HostError::invalid(format!(
            "the SSH host key of {address} is not the one that your known_hosts has: {said}"
        ))
        .with_help(format!(
            "find out why it changed; if it was meant to: ssh-keygen -R {}, and `ssh {address}` once",
            known_name(address)
        ))
    } else if says("Host key verification failed") || says("host key is known for") || says("Host key for") {
        HostError::invalid(format!(
            "your known_hosts has no SSH host key of {address}: {said}"
        ))
        .with_help(format!(
            "`ssh {address}` once, and compare the fingerprint that it shows before you say yes"
        ))
    } else if says("Permission denied") || says("Too many authentication failures") {
        HostError::new(
            ErrorKind::Unauthorized,
            format!("{address} takes none of your keys: {said}"),
        )
        .with_help(format!(
            "see that `ssh {address}` lets you in without a password: ssh-copy-id {address}"
        ))
    } else if says("Could not resolve hostname") {
        HostError::new(ErrorKind::NotFound, said).with_help("correct the address")
    } else if says("Bad configuration option")
        || says("Bad owner or permissions")
        || says("Can't open user config file")
    {
        HostError::invalid(format!("ssh does not start: {said}")).with_help("correct your ssh configuration")
    } else {
        HostError::new(ErrorKind::NotFound, format!("{address} does not answer: {said}"))
            .with_help("see that it is switched on and its SSH server reachable from here")
    }
}

/// Returns the name under which ssh looks a host key up.
fn known_name(address: &Address) -> String {
    match address.port {
        Some(port) if port != 22 => format!("'[{}]:{port}'", address.machine),
        _ => address.machine.clone(),
    }
}

/// Says why what was sent could not even begin, or broke off in the middle.
fn of_script(address: &Address, words: &str) -> HostError {
    let said = last_words(words);
    if words.contains("No space left on device") {
        return HostError::invalid(format!("a disk of {address} is full: {said}"))
            .with_help("make room there: df -h")
            .unsure();
    }
    if words.contains("bash") && words.contains("not found") {
        return HostError::invalid(format!("{address} has no bash: {said}"))
            .with_help("install it there, or name another machine");
    }
    HostError::unanswered(format!("what was begun on {address} broke off: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        "eve@desk:2222".parse().unwrap()
    }

    #[track_caller]
    fn check(words: &str, kind: ErrorKind, wanted: &str) {
        let error = of_connection(&address(), words);
        assert_eq!(error.kind, kind, "{error:?}");
        assert!(
            error.help.as_deref().is_some_and(|help| help.contains(wanted)),
            "{error:?}"
        );
    }

    #[test]
    fn each_connection_error_has_a_help() {
        check(
            "@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\n@@@@\nHost key verification failed.",
            ErrorKind::Invalid,
            "ssh-keygen -R '[desk]:2222'",
        );
        check(
            "No ED25519 host key is known for desk and you have requested strict checking.\nHost key verification failed.",
            ErrorKind::Invalid,
            "compare the fingerprint",
        );
        check(
            "eve@desk: Permission denied (publickey).",
            ErrorKind::Unauthorized,
            "ssh-copy-id",
        );
        check(
            "ssh: connect to host desk port 2222: Connection refused",
            ErrorKind::NotFound,
            "switched on",
        );
        check(
            "ssh: Could not resolve hostname desk: Name or service not known",
            ErrorKind::NotFound,
            "correct the address",
        );
    }

    #[test]
    fn what_may_have_begun_is_not_taken_for_nothing() {
        assert_eq!(of_script(&address(), "").kind, ErrorKind::Unanswered);
        assert_eq!(
            of_script(&address(), "mktemp: failed: No space left on device").kind,
            ErrorKind::Invalid
        );
    }

    #[test]
    fn a_machine_behind_another_is_refused_with_a_way_out() {
        let way = Way {
            address: address(),
            config: None,
        };
        let said = "hostname desk.example.org\nport 2222\nproxyjump none\n";
        assert_eq!(way.direct(said), Ok(("desk.example.org".to_owned(), 2222)));
        let error = way
            .direct("hostname desk\nport 22\nproxyjump gate.example.org\n")
            .unwrap_err();
        assert!(error.help.unwrap().contains("-L 2222"), "{}", error.cause);
    }
}
