//! The versions and checksums that hold where `twolane.toml` names none.
//! A new version goes in together with the checksum that its vendor publishes for the very file that stage 1 fetches.

use super::{Checksums, Pinned};

/// A pin as it stands in the source.
pub(super) struct Pin {
    version: &'static str,
    x86_64: &'static str,
    aarch64: Option<&'static str>,
}

/// `rustup-init` of rustup's release archive.
pub(super) const RUSTUP: Pin = Pin {
    version: "1.28.2",
    x86_64: "20a06e644b0d9bd2fbdbfd52d42540bdde820ea7df86e92e533c073da0cdd43c",
    aarch64: Some("e3853c5a252fca15252d07cb23a1bdd9377a8c6f3efa01531109281ae47f841c"),
};

/// The binary tarball of a Nix release.
pub(super) const NIX: Pin = Pin {
    version: "2.34.8",
    x86_64: "2c2e146b80834fe0ca201b51deeb939405b4f18e8d2071bf80b10f8123c50464",
    aarch64: None,
};

/// The release archive with Firecracker and its jailer.
pub(super) const FIRECRACKER: Pin = Pin {
    version: "v1.17.0",
    x86_64: "06094a1108ae9e82aa4c23a775aa92758f53f1175d422270d9d6162cb9ade558",
    aarch64: Some("e351ebe4f7a16b5873bbd51005d2e6767103cff4d5ebc829df2d3f95a93e2256"),
};

/// The versions of cargo tools. cargo itself checks what it builds them from.
pub(super) const CARGO_TOOLS: [(&str, &str); 4] = [
    ("cargo-audit", "0.22.2"),
    ("cargo-deny", "0.20.2"),
    ("cargo-fuzz", "0.13.2"),
    ("cargo-nextest", "0.9.151"),
];

impl Pin {
    /// Returns it as configuration has it.
    pub(super) fn pinned(&self) -> Pinned {
        Pinned {
            version: self.version.to_owned(),
            sha256: Checksums {
                x86_64: Some(self.x86_64.to_owned()),
                aarch64: self.aarch64.map(str::to_owned),
            },
        }
    }
}

/// Returns the installer of rustup that boxes get where their project names none.
pub fn rustup() -> super::Pinned {
    RUSTUP.pinned()
}
