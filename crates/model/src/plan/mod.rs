//! What a run is going to do: configuration, made definite.

mod allow;
mod asked;
mod candidates;
mod cost;
mod make;
mod owner;
mod refresh;
mod refuse;
mod share;
mod stage1;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use self::{
    allow::{needs_address, range_of_answer},
    asked::{Asked, Defaults, Facts, Offer, PlanMistake},
    cost::{price_of, why_dear},
    make::plan,
    owner::owner,
    refuse::{Judge, Refused, refuse},
    share::share,
};
use crate::{
    build::Build,
    candidate::Candidate,
    check::Check,
    config::{Deploy, System},
    lane::KvmNeed,
    limits::Limits,
    money::Money,
    name::{Label, RunId},
    order::OperatorToolchain,
    part::Share,
    revision::Revision,
    source::Source,
    tags::Owner,
    verdict::Verdict,
};

/// What a run is going to do. Kept in its directory, so that `attach` can take it up again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The run's id.
    pub run: RunId,
    /// The project's name.
    pub project: String,
    /// The trees that are copied; checks run in the first.
    pub sources: Vec<Source>,
    /// What stage 1 installs.
    pub system: System,
    /// The operator's own toolchain, when `[system] rust` asks for it.
    pub toolchain: Option<OperatorToolchain>,
    /// Certificates that boxes trust beside their own, PEM.
    pub ca_certs: Vec<String>,
    /// Certificates that this machine trusts beyond its distribution's, PEM: its own boxes trust them too.
    #[serde(default)]
    pub operator_ca_certs: Vec<String>,
    /// What stage 2 builds and installs.
    pub deploy: Deploy,
    /// The lanes, side by side.
    pub lanes: Vec<LanePlan>,
    /// Who the boxes belong to.
    pub owner: Owner,
    /// What of the repository the run is of, where git knows.
    #[serde(default)]
    pub revision: Option<Revision>,
    /// The addresses that may reach SSH, in CIDR form. Empty only where no box needs any: see [`needs_address`].
    pub allow: Vec<String>,
    /// The operator's own public key, which may log in too.
    pub operator_key: Option<String>,
    /// What becomes of the boxes at the end.
    pub keep: Keep,
    /// Whether a lane goes on after a check that failed.
    pub is_continued: bool,
    /// What all boxes together may cost in their whole time, at most: one amount for each currency, or none at all.
    #[serde(default)]
    pub max_cost: Vec<Money>,
    /// How much of what a box says is taken.
    #[serde(default)]
    pub limits: Limits,
    /// What people should know before it is carried out.
    #[serde(skip)]
    pub notes: Vec<String>,
}

/// What becomes of a box when its lane has ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// It is destroyed.
    #[default]
    Never,
    /// It stays for that long when its lane did not pass; never past its deadline.
    Failed(Duration),
    /// It stays until its deadline when its lane passed: what `up` is for.
    Passed,
}

impl Keep {
    /// Returns how long the box of a lane that ended so stays, at most; none when it is destroyed now.
    pub fn stays(self, verdict: Verdict, ttl: Duration) -> Option<Duration> {
        match (self, verdict) {
            (Self::Failed(length), Verdict::Failed | Verdict::Infrastructure) => Some(length.min(ttl)),
            (Self::Passed, Verdict::Passed) => Some(ttl),
            _ => None,
        }
    }
}

/// What one lane is going to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LanePlan {
    /// Its name in `[lanes]`.
    pub name: String,
    /// Its box's name.
    pub label: Label,
    /// What it asks of `/dev/kvm`.
    pub need: KvmNeed,
    /// Who may serve it, in order. Never empty.
    pub candidates: Vec<Candidate>,
    /// How long its box may live.
    #[serde(rename = "ttl_seconds", with = "crate::time::seconds")]
    pub ttl: Duration,
    /// What a box may cost in its whole time, at most: one amount for each currency, or none at all.
    pub max_cost: Vec<Money>,
    /// Whether stage 2 builds and installs the project's software.
    pub has_deploy: bool,
    /// What it runs, in order.
    pub checks: Vec<Check>,
    /// Where its tests are compiled.
    #[serde(default)]
    pub build: Build,
    /// Whether it goes on after a check that failed, whatever the plan says of all lanes.
    #[serde(default)]
    pub is_continued: bool,
    /// Whether a test that no lane really ran fails the run.
    pub fail_on_skip: bool,
    /// Whether a new run of the same pull request destroys the older one's boxes.
    pub supersede: bool,
    /// Which part it is of a lane that is shared over several boxes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<Share>,
}
