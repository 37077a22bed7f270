//! What a box reaches: by default the internet, and nothing of this machine. `filter.py` decides about every frame that
//! the guest sends, between its network card and QEMU's user network; it needs no rights that an ordinary user lacks.

use std::fmt;

use model::config::Network;

use super::{accel::version_of, settings::LocalSettings};

/// What decides about the guest's frames.
pub(crate) const FILTER: &str = include_str!("filter.py");

/// System calls that QEMU may not make.
const SANDBOX: &str = "on,obsolete=deny,elevateprivileges=deny,resourcecontrol=deny";

/// Returns whether a QEMU moves a guest's state through a file by itself. One before 8.2 starts a shell and `cat` for it.
pub(crate) fn moves_files(qemu_version: &str) -> bool {
    version_of(qemu_version).is_some_and(|numbers| numbers >= (8, 2))
}

/// What a box reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach<'a> {
    network: Network,
    allow: &'a [String],
}

impl<'a> Reach<'a> {
    pub(crate) fn of(settings: &'a LocalSettings) -> Self {
        Self {
            network: settings.network,
            allow: &settings.allow,
        }
    }

    /// Returns the watchdog's arguments for it.
    pub(crate) fn watchdog_arguments(self) -> Vec<String> {
        let mode = match self.network {
            Network::Host => return Vec::new(),
            Network::Internet => "internet",
            Network::None => "none",
        };
        vec!["--filter".to_owned(), format!("{mode} {}", self.allow.join(" "))]
    }

    /// Returns QEMU's arguments that the guest sees nothing of: its way out, and what QEMU itself may do.
    pub(crate) fn qemu_arguments(self, qemu_version: &str) -> Vec<String> {
        let spawn = match moves_files(qemu_version) {
            true => ",spawn=deny",
            false => "",
        };
        let mut arguments = vec!["-sandbox".to_owned(), format!("{SANDBOX}{spawn}")];
        if self.network != Network::Host {
            // The watchdog opens both descriptors.
            let filter = [
                "-chardev",
                "socket,id=sent,fd=100",
                "-chardev",
                "socket,id=passed,fd=101",
                "-object",
                "filter-redirector,id=filter,netdev=net,queue=rx,outdev=sent,indev=passed",
            ];
            arguments.extend(filter.map(str::to_owned));
        }
        arguments
    }
}

impl fmt::Display for Reach<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.network {
            Network::Internet => "reaches the internet, and of this machine and its networks",
            Network::None => "reaches no network, and of this machine",
            Network::Host => return f.write_str("reaches all that this machine reaches, its loopback too"),
        })?;
        match self.allow {
            [] => f.write_str(" nothing"),
            some => write!(f, " {}", some.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: Network, allow: &[&str], shown: &str) {
        let settings = LocalSettings {
            network,
            allow: allow.iter().map(|it| (*it).to_owned()).collect(),
            ..LocalSettings::default()
        };
        let reach = Reach::of(&settings);
        assert_eq!(reach.to_string(), shown);
        assert_eq!(reach.watchdog_arguments().is_empty(), network == Network::Host);
    }

    #[test]
    fn reach_is_said_with_its_exceptions() {
        check(
            Network::Internet,
            &[],
            "reaches the internet, and of this machine and its networks nothing",
        );
        check(
            Network::None,
            &["127.0.0.1:3142", "10.1.0.0/16"],
            "reaches no network, and of this machine 127.0.0.1:3142, 10.1.0.0/16",
        );
        check(
            Network::Host,
            &[],
            "reaches all that this machine reaches, its loopback too",
        );
    }

    #[test]
    fn only_a_qemu_that_needs_a_shell_may_start_one() {
        let settings = LocalSettings::default();
        let sandbox = |version: &str| Reach::of(&settings).qemu_arguments(version)[1].clone();
        assert!(sandbox("QEMU emulator version 10.0.2 (Debian)").ends_with(",spawn=deny"));
        assert!(!sandbox("QEMU emulator version 7.2.22").contains("spawn"));
    }
}
