//! The operating systems that a box can have.

/// Where the operating system of a box comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// A release that is made on this machine from its packages.
    Made(Release),
    /// A disk image that is downloaded and boots by itself.
    Cloud {
        /// Where it is.
        url: String,
        /// What it must be, in hexadecimal.
        sha256: String,
    },
}

impl Default for Image {
    fn default() -> Self {
        Self::Made(Release::default())
    }
}

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
