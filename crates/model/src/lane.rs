//! What a lane's box must have.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a lane asks of its box's `/dev/kvm`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KvmNeed {
    /// Nothing: its checks find no `/dev/kvm`, whatever the box has.
    #[default]
    None,
    /// A `/dev/kvm` that works, nested or not.
    Required,
    /// A `/dev/kvm` that works, in a virtual machine.
    Nested,
    /// A `/dev/kvm` that works, on hardware.
    Metal,
}

impl KvmNeed {
    /// Returns whether a box without a working `/dev/kvm` is refused.
    pub fn is_needed(self) -> bool {
        self != Self::None
    }

    /// Returns its word in `twolane.toml`.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Required => "required",
            Self::Nested => "nested",
            Self::Metal => "metal",
        }
    }
}

impl fmt::Display for KvmNeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
