//! An image that is there, as QEMU takes it.

use camino::{Utf8Path, Utf8PathBuf};

use super::{cache::Held, debian};

/// What a box's disk begins with.
#[derive(Debug, Clone)]
pub(crate) enum Base {
    Debian {
        system: Held,
        toolchain: Option<Held>,
    },
    Cloud {
        image: Held,
        disk: Utf8PathBuf,
        format: &'static str,
    },
}

impl Base {
    /// Returns the image that the box's overlay lies on.
    pub(crate) fn disk(&self) -> Utf8PathBuf {
        match self {
            Self::Debian { system, .. } => system.join("rootfs.ext4"),
            Self::Cloud { disk, .. } => disk.clone(),
        }
    }

    pub(crate) fn format(&self) -> &'static str {
        match self {
            Self::Debian { .. } => "raw",
            Self::Cloud { format, .. } => format,
        }
    }

    /// Returns the directories of the cache that a box of it uses.
    pub(crate) fn directories(&self) -> Vec<&Utf8Path> {
        match self {
            Self::Debian { system, toolchain } => {
                let all = [Some(system), toolchain.as_ref()].into_iter().flatten();
                all.map(|held| &**held).collect()
            }
            Self::Cloud { image, .. } => vec![image],
        }
    }

    /// Returns QEMU's arguments for everything but the disk.
    pub(crate) fn arguments(&self, kernel: &str) -> Vec<String> {
        match self {
            Self::Debian { system, toolchain } => debian::arguments(system, toolchain.as_deref(), kernel),
            Self::Cloud { .. } => Vec::new(),
        }
    }
}
