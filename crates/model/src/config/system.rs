//! `[system]`: what stage 1 installs.

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

use crate::source::WORK_USER;

/// What stage 1 installs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Distribution packages.
    pub packages: Vec<String>,
    /// The Rust toolchain.
    pub rust: Option<Rust>,
    /// Nix.
    pub nix: Option<Pinned>,
    /// Firecracker and its jailer.
    pub firecracker: Option<Pinned>,
    /// Programs that cargo runs or builds.
    pub cargo_tools: Vec<CargoTool>,
    /// Who owns the sources and runs the checks.
    pub user: String,
    /// System users beside them.
    pub users: Vec<String>,
    /// Directories that are made.
    pub directories: Vec<Directory>,
    /// Where downloads come from, when not from their vendors: `http://HOST/PREFIX`.
    pub mirror: Option<String>,
    /// A file of certificates that boxes trust beside their own, relative to the directory of `twolane.toml`.
    pub ca_certs: Option<Utf8PathBuf>,
}

impl Default for System {
    fn default() -> Self {
        Self {
            packages: Vec::new(),
            rust: None,
            nix: None,
            firecracker: None,
            cargo_tools: Vec::new(),
            user: WORK_USER.to_owned(),
            users: Vec::new(),
            directories: Vec::new(),
            mirror: None,
            ca_certs: None,
        }
    }
}

/// The Rust toolchain of a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rust {
    /// Its channel or version, such as `stable` or `1.90.0`.
    pub toolchain: String,
    /// Its components beside the minimal ones.
    pub components: Vec<String>,
    /// The targets whose standard library it has, beside the box's own.
    pub targets: Vec<String>,
    /// Where it comes from.
    pub from: RustFrom,
}

impl Rust {
    /// Returns this machine's own toolchain, whichever it is.
    pub fn any() -> Self {
        Self {
            toolchain: "stable".to_owned(),
            components: Vec::new(),
            targets: Vec::new(),
            from: RustFrom::Operator,
        }
    }
}

/// Where the Rust toolchain of a box comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RustFrom {
    /// rustup, whose installer is this one.
    Rustup(Pinned),
    /// The distribution.
    Apt,
    /// The machine that runs twolane.
    Operator,
}

/// A download of which the version and the checksum are known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pinned {
    /// The version, as the vendor writes it.
    pub version: String,
    /// Its checksums.
    pub sha256: Checksums,
}

/// The SHA-256 of one download for each machine architecture, in hexadecimal. At least one is there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checksums {
    /// For x86_64.
    pub x86_64: Option<String>,
    /// For aarch64.
    pub aarch64: Option<String>,
}

/// A program that cargo runs or builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CargoTool {
    /// Its name, such as `cargo-deny`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The archive that it comes in, `{arch}` standing for the architecture; without one it is built on the box.
    pub url: Option<String>,
    /// The archive's checksums; empty without an archive.
    pub sha256: Checksums,
}

/// A directory that stage 1 makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directory {
    /// Its path, absolute.
    pub path: String,
    /// Who owns it.
    pub owner: String,
    /// Its group.
    pub group: String,
    /// Its mode, in octal, such as `0750`.
    pub mode: String,
}
