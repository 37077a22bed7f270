//! Flags and `twolane.toml` as typed → configuration as meant.

mod deploy;
mod lane;
mod local;
mod mistake;
mod pins;
mod preset;
mod read;
#[cfg(test)]
mod reference;
mod system;

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};

pub use self::{
    deploy::{Binary, Deploy},
    lane::{BoxChoice, Boxes, Lane},
    local::{Acceleration, Local, Network},
    mistake::{Mistake, nearest},
    pins::rustup,
    preset::{Found, Nextest, Preset},
    read::{TTL_MAX, provider_word, read, without_file},
    system::{CargoTool, Checksums, Directory, Pinned, Rust, RustFrom, System},
};
pub(crate) use self::{mistake::suggest, read::ttl};
use crate::{limits::Limits, name::ProviderName};

/// `twolane.toml` as meant: every value checked, every preset written out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The project's name, the prefix of its labels.
    pub project: String,
    /// The file with the tests that no lane is known to run, relative to the directory of `twolane.toml`.
    pub baseline: Option<Utf8PathBuf>,
    /// The trees that are copied, in the order of the file.
    pub sources: Vec<SourceDir>,
    /// What stage 1 installs.
    pub system: System,
    /// What stage 2 builds and installs.
    pub deploy: Deploy,
    /// The lanes, in the order of the file. Never empty.
    pub lanes: Vec<Lane>,
    /// How boxes on this machine are made.
    pub local: Local,
    /// How much of what a box says is taken.
    pub limits: Limits,
    /// Where a provider's API is, when it is not where its vendor has it.
    pub endpoints: BTreeMap<ProviderName, String>,
}

impl Config {
    /// Returns whether a lane's tests run under the tracer: where one lane's do, so do all others' that do not say no.
    /// What only some lanes tell would leave open what the others really ran.
    pub fn is_traced(&self, lane: &Lane) -> bool {
        let asks = |lane: &Lane| lane.fail_on_skip || lane.trace == Some(true);
        lane.trace.unwrap_or_else(|| self.lanes.iter().any(asks))
    }
}

/// One line of `[sources]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceDir {
    /// Its name, and that of its directory on the box.
    pub name: String,
    /// Where it is, relative to the directory of `twolane.toml`.
    pub path: Utf8PathBuf,
}

/// What has to be known of the surroundings to read `twolane.toml`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Around {
    /// The providers that there are, with the shell adapters: `NAME` for each `providers/NAME.sh`. Empty: any name will do.
    pub providers: BTreeSet<ProviderName>,
    /// The name of the directory that the file is in. The project is called so when the file has no name for it.
    pub name: String,
}
