//! What a plan is made of: what was asked, as typed, and what has to be known of the world.

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8PathBuf;

use crate::{
    candidate::{Candidate, Fallback},
    lane::KvmNeed,
    money::Money,
    name::{ProviderName, RunId},
    options::Takes,
    order::OperatorToolchain,
    part::Past,
    revision::Revision,
    tags::Owner,
};

/// What was asked on the command line, and in the environment where the command line says nothing. As typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The lanes; none: all.
    pub lanes: Vec<String>,
    /// `--provider`, `TWOLANE_PROVIDER`.
    pub provider: Option<String>,
    /// `--region`, `TWOLANE_REGION`.
    pub region: Option<String>,
    /// `--instance-type`, `TWOLANE_INSTANCE_TYPE`.
    pub instance_type: Option<String>,
    /// `--disk`, `TWOLANE_DISK`: in GiB.
    pub disk: Option<String>,
    /// `--ttl`.
    pub ttl: Option<String>,
    /// `--max-cost`: of the whole run.
    pub max_cost: Option<String>,
    /// `--label`, `TWOLANE_LABEL`.
    pub label: Option<String>,
    /// `--keep`: for how long.
    pub keep: Option<String>,
    /// `--continue`.
    pub is_continued: bool,
    /// `--allow-cidr`.
    pub allow: Vec<String>,
    /// `--ssh-pubkey`, `TWOLANE_SSH_PUBKEY`.
    pub operator_key: Option<String>,
    /// Whether lanes are shared over several boxes: what a lane says, or `--boxes`.
    pub is_shared: bool,
    /// `--boxes`.
    pub boxes: Option<String>,
}

/// What has to be known of the world to plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// The run's id.
    pub run: RunId,
    /// Random bits, for labels.
    pub random: u64,
    /// Where `twolane.toml` is, or would be; absolute.
    pub dir: Utf8PathBuf,
    /// The paths of `[sources]`, as they stand there, that are not directories.
    pub missing: BTreeSet<Utf8PathBuf>,
    /// Whether the first source has no `Cargo.toml`.
    pub lacks_manifest: bool,
    /// What each usable provider takes by default.
    pub providers: BTreeMap<ProviderName, Defaults>,
    /// What is known of prices, for `boxes = "cheapest"`.
    pub offers: Vec<Offer>,
    /// Who the boxes belong to.
    pub owner: Owner,
    /// What is checked out, where git knows.
    pub revision: Option<Revision>,
    /// This machine's Rust toolchain, if it has one.
    pub toolchain: Option<OperatorToolchain>,
    /// What the file of `[system] ca-certs` holds, PEM.
    pub ca_certs: Vec<String>,
    /// The certificates that this machine trusts beyond its distribution's, PEM.
    pub operator_ca_certs: Vec<String>,
    /// The names of the variables in the operator's environment.
    pub variables: BTreeSet<String>,
    /// What earlier runs say of the checks of lanes that are shared over several boxes.
    pub past: Past,
}

/// What a provider takes by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// Its size.
    pub instance_type: String,
    /// Its place.
    pub region: String,
    /// What is tried after these, in order, when a lane names neither.
    pub fallbacks: Vec<Fallback>,
    /// What it takes of a candidate's options.
    pub takes: Takes,
    /// Whether it is a cloud, which has the user's tags on its bill.
    pub is_cloud: bool,
}

/// A box that could be had, with its price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which.
    pub candidate: Candidate,
    /// What an hour costs.
    pub hourly: Money,
    /// Its `/dev/kvm`: none, nested or on hardware.
    pub kvm: KvmNeed,
}

/// Something that was asked for and cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanMistake {
    /// What is wrong.
    pub message: String,
    /// Why, a line for each reason; empty where the message says it all.
    pub because: Vec<String>,
    /// What would be right.
    pub help: Option<String>,
}
