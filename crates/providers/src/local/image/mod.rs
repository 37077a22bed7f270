//! Base images: what a box's disk begins with. Made once, kept under a key of all that went into it.

pub(crate) mod cache;
mod cloud;
mod debian;
mod release;
mod toolchain;

use camino::{Utf8Path, Utf8PathBuf};
use model::{order::Preinstall, world::Progress};

pub(crate) use cache::is_there;

use super::{LocalSettings, error::LocalError};

pub use release::Release;

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

/// What a box's disk begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Base {
    Debian {
        system: Utf8PathBuf,
        toolchain: Option<Utf8PathBuf>,
    },
    Cloud {
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

    /// Returns QEMU's arguments for everything but the disk.
    pub(crate) fn arguments(&self, kernel: &str) -> Vec<String> {
        match self {
            Self::Debian { system, toolchain } => debian::arguments(system, toolchain.as_deref(), kernel),
            Self::Cloud { .. } => Vec::new(),
        }
    }
}

/// Returns the image for an order; makes it when it is not there.
pub(crate) async fn ensure(
    cache_dir: &Utf8Path,
    settings: &LocalSettings,
    preinstall: &Preinstall,
    progress: &dyn Progress,
) -> Result<Base, LocalError> {
    match &settings.image {
        Image::Cloud { url, sha256 } => cloud::ensure(cache_dir, url, sha256, progress).await,
        Image::Made(release) => {
            let system =
                debian::ensure(cache_dir, settings, *release, &preinstall.packages, progress).await?;
            let toolchain = match &preinstall.toolchain {
                Some(toolchain) => Some(toolchain::ensure(cache_dir, toolchain, progress).await?),
                None => None,
            };
            Ok(Base::Debian { system, toolchain })
        }
    }
}

/// Returns the key of the image that an order without wishes of its own gets.
pub(crate) fn default_key(settings: &LocalSettings) -> String {
    match &settings.image {
        Image::Made(release) => debian::key(settings, *release, &[]),
        Image::Cloud { sha256, .. } => cloud::key(sha256),
    }
}
