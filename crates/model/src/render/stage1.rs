//! What a box's user-data is made of.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use crate::time::Deadline;

/// What one box's user-data is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage1 {
    /// What is installed, the same for all boxes of a configuration.
    pub system: System,
    /// The box's label.
    pub hostname: String,
    /// The host key that the first connection is verified against.
    pub host_key: HostKey,
    /// Public keys that may log in as root and as the user of the checks.
    pub authorized_keys: Vec<String>,
    /// When the box powers itself off.
    pub deadline: Deadline,
    /// The longest that it may be up, should its clock be wrong.
    pub ttl: Duration,
}

/// What stage 1 installs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct System {
    /// Debian or Ubuntu packages.
    pub packages: Vec<String>,
    /// Where cargo comes from, if it is wanted.
    pub toolchain: Option<Toolchain>,
    /// Nix, of this version.
    pub nix: Option<Pinned>,
    /// Firecracker and its jailer, of this version.
    pub firecracker: Option<Pinned>,
    /// Programs such as `cargo-deny`.
    pub cargo_tools: Vec<CargoTool>,
    /// The accounts; the first that may log in runs the checks.
    pub users: Vec<User>,
    /// State directories.
    pub directories: Vec<Directory>,
    /// Takes the place of scheme and host in every download, if set.
    pub mirror: Option<String>,
    /// Certificates to trust, PEM.
    pub ca_certs: Vec<String>,
    /// Whether the box is of no use without a working `/dev/kvm`.
    pub gate_required: bool,
    /// Whether the box's `/dev/kvm` is taken away, so that its tests show what they do without.
    pub hide_kvm: bool,
}

/// Where cargo comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Toolchain {
    /// From rustup, itself pinned.
    Rustup {
        /// The version of rustup-init, with its checksums.
        rustup: Pinned,
        /// Such as `stable` or `1.95.0`.
        channel: String,
        /// Such as `clippy`.
        components: Vec<String>,
        /// Such as `x86_64-unknown-linux-musl`.
        targets: Vec<String>,
    },
    /// From the distribution's packages.
    Apt,
    /// A copy of the operator's own, sent once the box is up.
    Operator {
        /// Names this toolchain: its version and host.
        key: String,
    },
}

/// A version, with the checksum of its download for each architecture (`x86_64`, `aarch64`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pinned {
    /// As the download's address has it.
    pub version: String,
    /// SHA-256 in lower-case hexadecimal, by architecture.
    pub sha256: BTreeMap<String, String>,
}

/// A program that cargo calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CargoTool {
    /// Its package and program name.
    pub name: String,
    /// Its exact version.
    pub version: String,
    /// An archive that holds the program; without one it is built on the box.
    pub archive: Option<Archive>,
}

/// A download.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Archive {
    /// Its address; `{arch}` stands for the box's architecture.
    pub url: String,
    /// SHA-256 in lower-case hexadecimal, by architecture.
    pub sha256: BTreeMap<String, String>,
}

/// An account on the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct User {
    /// Its name, and that of its group.
    pub name: String,
    /// Whether it has a home, a shell and access to `/dev/kvm`; else it is a system account.
    pub login: bool,
}

/// A state directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Directory {
    /// Absolute.
    pub path: String,
    /// Owner of the files in it.
    pub owner: String,
    /// Group that may read it.
    pub group: String,
    /// Such as `0750`.
    pub mode: String,
}

/// An SSH host key pair. Its private half is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey {
    /// In OpenSSH's own format.
    pub private: String,
    /// One line: kind and key.
    pub public: String,
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
