//! `[lanes.*]`: what runs where.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{build::Build, check::Check, lane::KvmNeed, money::Money, name::ProviderName, options::Options};

/// One lane of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// What it asks of `/dev/kvm`.
    pub kvm: KvmNeed,
    /// Who may serve it.
    pub boxes: Boxes,
    /// Over how many boxes its tests are shared.
    pub boxes_at_once: u32,
    /// How long its box may live.
    #[serde(rename = "ttl_seconds", with = "crate::time::seconds")]
    pub ttl: Duration,
    /// Tags of the user's own for each box at a provider that takes any; a candidate's own count more.
    pub tags: BTreeMap<String, String>,
    /// What a box may cost in its whole time, at most: one amount for each currency, or none at all.
    pub max_cost: Vec<Money>,
    /// Whether stage 2 builds and installs the project's software.
    pub deploy: bool,
    /// What it runs, in order. Never empty.
    pub checks: Vec<Check>,
    /// Where its tests are compiled.
    pub build: Build,
    /// Whether it goes on after a check that failed.
    pub is_continued: bool,
    /// Whether a test that no lane really ran fails the run.
    pub fail_on_skip: bool,
    /// Whether its tests run under the tracer; none where the file does not say.
    pub trace: Option<bool>,
    /// Whether a new run of the same pull request destroys the older one's boxes.
    pub supersede: bool,
}

/// Who may serve a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boxes {
    /// These, in order. Never empty.
    Listed(Vec<BoxChoice>),
    /// The cheapest that has what the lane needs, of all whose price is known.
    Cheapest,
}

/// One entry of `boxes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxChoice {
    /// Who provisions the box.
    pub provider: ProviderName,
    /// The provider's word for the size.
    pub instance_type: Option<String>,
    /// The provider's word for where.
    pub region: Option<String>,
    /// The provider's word for the operating system.
    pub image: Option<String>,
    /// Size of the root disk, in GiB.
    pub disk_gb: Option<u32>,
    /// What else is asked of it.
    pub options: Options,
}

impl BoxChoice {
    /// Returns the provider's own choice of everything.
    pub fn of(provider: ProviderName) -> Self {
        Self {
            provider,
            instance_type: None,
            region: None,
            image: None,
            disk_gb: None,
            options: Options::default(),
        }
    }
}
