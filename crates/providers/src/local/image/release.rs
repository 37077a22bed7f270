//! The releases that images can be made of.

/// A release of Debian.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Release {
    /// The default: its cloud-init is one process instead of four.
    #[default]
    Debian13,
    /// The one before.
    Debian12,
}

impl Release {
    /// All of them, the default first.
    pub const ALL: [Self; 2] = [Self::Debian13, Self::Debian12];

    /// Returns its name in `twolane.toml`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debian13 => "debian-13",
            Self::Debian12 => "debian-12",
        }
    }

    /// Returns its name for people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Debian13 => "Debian 13",
            Self::Debian12 => "Debian 12",
        }
    }

    /// Returns its name in a mirror.
    pub(crate) fn suite(self) -> &'static str {
        match self {
            Self::Debian13 => "trixie",
            Self::Debian12 => "bookworm",
        }
    }
}
