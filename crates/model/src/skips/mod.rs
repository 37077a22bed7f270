//! Which tests ask for `/dev/kvm` and its kin, which of them passed without having had it, and which no lane really ran.
//! Keeps out: running the tests (`ops/ephemeral/trace-tests.sh` does), and reading the files.

mod baseline;
mod device;
mod judge;
mod propose;
mod record;

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use crate::{lane::KvmNeed, results::is_same_suite};

pub use self::{
    baseline::Baseline,
    device::{Attempt, Device, attempt},
    judge::{LaneRecords, Spelling, judge, judge_results},
    propose::{Proposal, filter, propose},
    record::{Record, Run, TestRecord},
};

/// The script that runs tests under the tracer.
pub const TRACE_TESTS: &str = include_str!("../../../../ops/ephemeral/trace-tests.sh");

/// Where the box keeps [`TRACE_TESTS`].
pub const TRACE_TESTS_PATH: &str = "/usr/local/lib/twolane/trace-tests.sh";

/// The package that a box needs for it.
pub const TRACER_PACKAGE: &str = "strace";

/// A test, whichever lane runs it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TestId {
    /// The test binary, in cargo-nextest's words: `package`, `package::name` or `package::bin/name`.
    pub binary: String,
    /// The test's name; none where the binary can only be run as a whole.
    pub test: Option<String>,
}

impl TestId {
    /// Reads what [`fmt::Display`] wrote.
    pub fn read(text: &str) -> Self {
        match text.split_once(' ') {
            Some((binary, test)) => Self {
                binary: binary.to_owned(),
                test: Some(test.to_owned()),
            },
            None => Self {
                binary: text.to_owned(),
                test: None,
            },
        }
    }
}

impl fmt::Display for TestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.test {
            Some(test) => write!(f, "{} {test}", self.binary),
            None => f.write_str(&self.binary),
        }
    }
}

/// What became of a test in a lane. Of two ends of the same test, the first of these counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judged {
    /// It failed, or was ended.
    Failed,
    /// It got a device that it asked for.
    Used,
    /// It saw that a device is there, and never opened it.
    Looked,
    /// It asked for no device.
    NeedsNothing,
    /// It ran, but not under the tracer.
    Untraced,
    /// It asked for devices, got none, and passed: a silent skip.
    SilentSkip,
    /// It is marked as ignored, and was not run.
    Ignored,
    /// It was listed, and never run.
    NotRun,
}

impl Judged {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Failed,
        Self::Used,
        Self::Looked,
        Self::NeedsNothing,
        Self::Untraced,
        Self::SilentSkip,
        Self::Ignored,
        Self::NotRun,
    ];

    /// Returns the words for tables.
    pub fn words(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Used => "used it",
            Self::Looked => "only looked",
            Self::NeedsNothing => "needs nothing",
            Self::Untraced => "not traced",
            Self::SilentSkip => "silent skip",
            Self::Ignored => "ignored",
            Self::NotRun => "never run",
        }
    }

    /// Returns whether the test did in that lane what it is there for, well or badly.
    pub fn has_really_run(self) -> bool {
        match self {
            Self::Failed | Self::Used | Self::Looked | Self::NeedsNothing | Self::Untraced => true,
            Self::SilentSkip | Self::Ignored | Self::NotRun => false,
        }
    }
}

/// What became of a test in a lane, and why that is thought.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InLane {
    /// What became of it.
    pub judged: Judged,
    /// The devices that it asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// How long it took, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

impl InLane {
    /// Returns whether the test asked for a device that it never got.
    pub fn has_lacked(&self) -> bool {
        self.devices.iter().any(|device| !device.is_got())
    }

    /// Returns whether the test failed although it lacked nothing.
    pub fn has_failed(&self) -> bool {
        self.judged == Judged::Failed && !self.has_lacked()
    }

    /// Returns what is known in one line, such as `silent skip: /dev/kvm: open: ENOENT`.
    pub fn words(&self) -> String {
        let devices: Vec<String> = self.devices.iter().map(Device::to_string).collect();
        if devices.is_empty() {
            self.judged.words().to_owned()
        } else {
            format!("{}: {}", self.judged.words(), devices.join(", "))
        }
    }
}

/// Which half of the suite a test belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Half {
    /// Any box can run it.
    Any,
    /// Only a box that can run virtual machines.
    Live,
}

/// A test about which there is something to tell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestSplit {
    /// Which.
    #[serde(flatten)]
    pub id: TestId,
    /// Where it belongs.
    pub half: Half,
    /// What became of it, by lane.
    pub lanes: BTreeMap<String, InLane>,
}

impl TestSplit {
    /// Returns whether no lane really ran it.
    pub fn is_skipped(&self) -> bool {
        !self.lanes.values().any(|lane| lane.judged.has_really_run())
    }

    /// Returns what became of it, lane by lane.
    pub fn words(&self) -> String {
        let lanes: Vec<String> = self
            .lanes
            .iter()
            .map(|(name, lane)| format!("{name}: {}", lane.words()))
            .collect();
        lanes.join("; ")
    }
}

/// What the tracer saw in one lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LaneSplit {
    /// What the lane asks of its box.
    pub need: KvmNeed,
    /// How many of its tests ended how.
    pub counts: BTreeMap<Judged, u64>,
    /// Whether its box had a `/dev/kvm`, working or not.
    pub has_kvm: bool,
    /// Why not all of it is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
}

/// A test that no lane really ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// Which.
    #[serde(flatten)]
    pub id: TestId,
    /// What became of it, lane by lane.
    pub why: String,
    /// Whether the baseline has it.
    pub is_known: bool,
}

/// What the tracer saw in a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Split {
    /// The lanes whose tests ran under it, by name.
    pub lanes: BTreeMap<String, LaneSplit>,
    /// The tests that no lane really ran.
    pub skipped: Vec<Skipped>,
    /// Lines of the baseline that are true no more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// Why that fails the run; empty when it does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why_failed: Vec<String>,
    /// The tests that asked for a device, failed, or were not really run by some lane.
    pub tests: Vec<TestSplit>,
    /// All others: they need nothing.
    pub need_nothing: Vec<String>,
}

impl Split {
    /// Returns the tests that no lane really ran and that the baseline does not have.
    pub fn new_skips(&self) -> impl Iterator<Item = &Skipped> {
        self.skipped.iter().filter(|skipped| !skipped.is_known)
    }

    /// Returns whether a lane's test of that name passed without having had the device that it asked for.
    pub fn is_silent_skip(&self, lane: &str, suite: &str, test: &str) -> bool {
        self.tests.iter().any(|split| {
            split.id.test.as_deref() == Some(test)
                && is_same_suite(&split.id.binary, suite)
                && split
                    .lanes
                    .get(lane)
                    .is_some_and(|lane| lane.judged == Judged::SilentSkip)
        })
    }

    /// Returns the tests that failed in some lane although they lacked nothing there.
    pub fn failed(&self) -> impl Iterator<Item = &TestSplit> {
        self.tests
            .iter()
            .filter(|test| test.lanes.values().any(InLane::has_failed))
    }

    /// Returns the tests that failed in this lane although they lacked nothing there.
    pub fn failed_of(&self, lane: &str) -> impl Iterator<Item = &TestSplit> {
        let tests = self.tests.iter();
        tests.filter(move |test| test.lanes.get(lane).is_some_and(InLane::has_failed))
    }

    /// Returns whether a lane whose check leaves the verdict to the record has tests that failed.
    pub fn has_failed_in(&self, lane: &LaneRecords) -> bool {
        lane.is_suite && self.failed_of(&lane.name).next().is_some()
    }
}

/// Returns the command that runs a check's command with its tests under the tracer.
pub fn traced_command(record: &str, command: &str) -> String {
    let quote = crate::render::quote;
    format!(
        "exec bash {TRACE_TESTS_PATH} check {} {}",
        quote(record),
        quote(command)
    )
}

/// Returns the command that runs a whole suite, in a check that is traced.
pub fn suite_command(arguments: &[String]) -> String {
    let words: Vec<String> = arguments
        .iter()
        .map(|argument| crate::render::quote(argument))
        .collect();
    format!("bash {TRACE_TESTS_PATH} suite {}", words.join(" "))
        .trim_end()
        .to_owned()
}

/// Returns the arguments that [`suite_command`] made a command of; none where it did not.
pub fn suite_arguments(command: &str) -> Option<Vec<String>> {
    let words = command.strip_prefix(&format!("bash {TRACE_TESTS_PATH} suite"))?;
    let quoted = words.trim_start().strip_prefix('\'');
    let Some(quoted) = quoted.and_then(|words| words.strip_suffix('\'')) else {
        return Some(Vec::new());
    };
    // A quote within a word is written `'\''`, so that this stands between words alone.
    let words = quoted.split("' '").map(|word| word.replace(r"'\''", "'"));
    Some(words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_a_suite_are_read_back() {
        let cases: [&[&str]; 4] = [&[], &["-p", "a b"], &["it's", "x"], &["--features", "a,b"]];
        for case in cases {
            let arguments: Vec<String> = case.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(suite_arguments(&suite_command(&arguments)), Some(arguments));
        }
        assert_eq!(suite_arguments("cargo test"), None);
    }
}
