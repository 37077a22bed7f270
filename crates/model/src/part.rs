//! Words for parts: which tests of a check a box runs, and which box of a shared lane it is. Keeps out how they come about.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Boxes of one lane at most.
pub const BOXES_MAX: u32 = 64;

/// Which tests of a check are run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Selection {
    /// Those whose name holds one of these.
    Matching(Vec<String>),
    /// Those that are called one of these.
    Named(Vec<String>),
    /// Those that are called none of these.
    Except(Vec<String>),
    /// A part of all, by a hash of each name: cargo-nextest's own.
    Hash {
        /// Which, from 1 on.
        number: u32,
        /// Of how many.
        count: u32,
    },
}

/// Which part of a shared lane a lane of a plan is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The lane's name in `[lanes]`.
    pub of: String,
    /// Which box, from 1 on.
    pub number: u32,
    /// How many boxes there are.
    pub count: u32,
}

/// The part of a check that one box runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The command of the whole check.
    pub whole: String,
    /// Which of its tests.
    pub selection: Selection,
}

/// Where a check comes from that its lane took over from a lost box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenFrom {
    /// The lane.
    pub lane: String,
    /// The check's slug there.
    pub slug: String,
}

/// What earlier runs say of the checks, by lane in `[lanes]` and check.
pub type Past = BTreeMap<(String, String), PastCheck>;

/// What earlier runs say of a check.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PastCheck {
    /// How long all of it took, in seconds.
    pub seconds: f64,
    /// Its tests that ran, by name; each with its length in seconds, where that is known.
    pub tests: BTreeMap<String, Option<f64>>,
}

/// Returns the lane in `[lanes]` that a lane of a plan is, or is a part of. No name in `[lanes]` has a dot.
pub fn family(lane: &str) -> &str {
    lane.split_once('.').map_or(lane, |(of, _)| of)
}
