//! `[local]`: how boxes on this machine are made.

use serde::{Deserialize, Serialize};

/// How boxes on this machine are made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    /// Which base image; the provider's default when none is named.
    pub image: Option<String>,
    /// Where distribution packages for the base image come from.
    pub mirror: Option<String>,
    /// How guests are accelerated.
    pub acceleration: Acceleration,
    /// Where `qemu-system-x86_64` is; looked for in PATH when it is not said.
    #[serde(default)]
    pub qemu: Option<String>,
    /// Whether each box boots by itself, instead of going on where a template was frozen.
    #[serde(default)]
    pub is_cold: bool,
    /// What boxes reach.
    #[serde(default)]
    pub network: Network,
    /// What they reach beside that: `ADDRESS[/BITS][:PORT]`.
    #[serde(default)]
    pub allow: Vec<String>,
}

/// What a box on this machine reaches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The internet, and nothing of this machine or its networks.
    #[default]
    Internet,
    /// Nothing.
    None,
    /// All that this machine reaches, its loopback too.
    Host,
}

/// How guests are accelerated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acceleration {
    /// KVM where the probe says that it works, else emulation.
    #[default]
    Auto,
    /// KVM, or no box.
    Kvm,
    /// Emulation.
    Tcg,
}
