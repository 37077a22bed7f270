//! Base images: what a box's disk begins with. Made once, kept under a key of all that went into it.

mod base;
pub(crate) mod cache;
mod cloud;
mod debian;
mod release;
mod toolchain;

use camino::Utf8Path;
use model::{order::Preinstall, world::Progress};

pub(crate) use base::Base;
pub(crate) use cache::is_there;

use super::{LocalSettings, error::LocalError};

pub use release::{Image, Release};

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
