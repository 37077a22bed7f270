//! The way to a box through another machine. The operator's own ssh goes there, with the operator's own configuration, keys and
//! known hosts: what is written for a box counts for the box alone. `ssh -J` would carry it over.

use std::{net::SocketAddr, process::Stdio};

use camino::Utf8Path;
use model::{error::RemoteError, host::Address, render::quote, text::last_words};
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
    time::timeout,
};

use crate::{
    environment, failure,
    probe::{PATIENCE, judge},
};

/// The way through one machine to one address.
pub(crate) struct Jump<'a> {
    pub(crate) through: &'a Address,
    pub(crate) to: SocketAddr,
    /// Takes the place of the operator's own configuration.
    pub(crate) config: Option<&'a Utf8Path>,
}

impl Jump<'_> {
    /// Returns the program, with its arguments, whose input and output lead to the address.
    fn argv(&self) -> Vec<String> {
        let mut argv = vec!["ssh".to_owned()];
        let mut add = |words: &[&str]| argv.extend(words.iter().map(ToString::to_string));
        if let Some(config) = self.config {
            add(&["-F", config.as_str()]);
        }
        // Nobody is there to answer a question, and several boxes would ask at once.
        add(&["-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]);
        if let Some(port) = self.through.port {
            add(&["-p", &port.to_string()]);
        }
        if let Some(user) = &self.through.user {
            add(&["-l", user]);
        }
        add(&["-W", &self.to.to_string(), "--", &self.through.machine]);
        argv
    }

    /// Returns it as ssh's configuration names it.
    pub(crate) fn proxy_command(&self) -> String {
        let words: Vec<String> = self.argv().iter().map(|word| quote(word)).collect();
        words.join(" ").replace('%', "%%")
    }

    /// Returns as soon as an SSH server greets behind the other machine. What is wrong on the way there is kept apart from the
    /// box: ssh says the same words of both.
    pub(crate) async fn greeting(&self) -> Result<(), RemoteError> {
        let (program, arguments) = ("ssh", &self.argv()[1..]);
        let mut ssh = Command::new(program);
        environment::clean(ssh.as_std_mut());
        let mut child = ssh
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failure::of_start(program, &error))?;
        let greeted = timeout(PATIENCE, self.greeted(&mut child)).await;
        greeted.unwrap_or_else(|_| Err(RemoteError::Unreachable(format!("{self}: nothing greets"))))
    }

    async fn greeted(&self, child: &mut Child) -> Result<(), RemoteError> {
        let mut start = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            let _ = stdout.take(4).read_to_end(&mut start).await;
        }
        if start.is_empty() {
            let mut said = Vec::new();
            if let Some(stderr) = child.stderr.take() {
                let _ = stderr.take(SAID_MAX).read_to_end(&mut said).await;
            }
            return Err(self.failure(&String::from_utf8_lossy(&said)));
        }
        judge(&start).map_err(|why| RemoteError::NotSsh(format!("{self} {why}")))
    }

    /// Says what ended an attempt to get to the box. Waiting helps against what the network does, and nothing else.
    fn failure(&self, words: &str) -> RemoteError {
        let said = last_words(words);
        let is_closed = CLOSED.iter().any(|phrase| words.contains(phrase));
        if is_closed && !words.contains("connect failed") {
            let through = self.through;
            return RemoteError::Here(format!(
                "the way through {through} is closed: {said}; `ssh {through}` has to work without a question, and let \
                 connections pass"
            ));
        }
        RemoteError::Unreachable(format!("{self}: {said}"))
    }
}

impl std::fmt::Display for Jump<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} through {}", self.to, self.through)
    }
}

/// The most that is read of what ssh says, in bytes.
const SAID_MAX: u64 = 16 * 1024;

/// What ssh says when the other machine does not let us through, and will not.
const CLOSED: [&str; 7] = [
    "Permission denied",
    "Too many authentication failures",
    "Host key verification failed",
    "administratively prohibited",
    "onfiguration option",
    "Bad owner or permissions",
    "Unable to negotiate",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn jump<'a>(through: &'a Address, to: &str) -> Jump<'a> {
        Jump {
            through,
            to: to.parse().unwrap(),
            config: None,
        }
    }

    #[test]
    fn way_is_one_connection_of_the_operators_own_ssh() {
        let through = "eve@bastion:2222".parse().unwrap();
        let options = "ssh -o BatchMode=yes -o ConnectTimeout=15";
        assert_eq!(
            jump(&through, "10.0.0.5:22").argv().join(" "),
            format!("{options} -p 2222 -l eve -W 10.0.0.5:22 -- bastion")
        );
        let through = "bastion".parse().unwrap();
        let six = Jump {
            config: Some("/etc/100%".into()),
            ..jump(&through, "[fd00::5]:22")
        };
        assert!(six.proxy_command().starts_with("'ssh' '-F' '/etc/100%%' "));
        assert!(
            six.proxy_command()
                .ends_with("'-W' '[fd00::5]:22' '--' 'bastion'")
        );
    }

    #[test]
    fn bastion_that_refuses_is_final_and_a_box_that_boots_is_not() {
        let through = "eve@bastion".parse().unwrap();
        let jump = jump(&through, "10.0.0.5:22");
        for words in [
            "eve@bastion: Permission denied (publickey).",
            "Host key verification failed.",
            "channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed",
        ] {
            let error = jump.failure(words);
            assert!(
                matches!(&error, RemoteError::Here(why) if why.contains("eve@bastion")),
                "{error}"
            );
        }
        for words in [
            "channel 0: open failed: connect failed: Connection refused\nstdio forwarding failed",
            "ssh: connect to host bastion port 22: Connection timed out",
            "ssh: Could not resolve hostname bastion: Temporary failure in name resolution",
            "",
        ] {
            let error = jump.failure(words);
            assert!(matches!(error, RemoteError::Unreachable(_)), "{error}");
        }
    }
}
