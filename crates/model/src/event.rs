//! Everything that can happen in a run. The terminal, the JSON stream, the recording and the report
//! are readers of it and know nothing of each other.

use serde::{Deserialize, Serialize};

use crate::{
    candidate::Candidate,
    check::{Check, Outcome},
    gate::GateAnswer,
    lane::KvmNeed,
    machine::{Gone, Machine},
    name::{Label, ProviderName, RunId},
    price::Price,
    source::Synced,
    time::{Deadline, Timestamp},
    verdict::Verdict,
};

/// The version of the events' written form.
pub const EVENTS_VERSION: u16 = 1;

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRecord {
    /// [`EVENTS_VERSION`] when it was written.
    pub v: u16,
    /// When.
    pub at: Timestamp,
    /// In which lane; none for the run as a whole.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub lane: Option<String>,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

impl EventRecord {
    /// Makes a record of the present version.
    pub fn new(at: Timestamp, lane: Option<&str>, event: Event) -> Self {
        Self {
            v: EVENTS_VERSION,
            at,
            lane: lane.map(str::to_owned),
            event,
        }
    }
}

/// A part of a lane's way, in order. Steps of stage 1 have names of their own: [`Event::Stage1`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The provider makes the box.
    Up,
    /// The box boots until its SSH server lets us in.
    Connect,
    /// cloud-init prepares the system.
    Stage1,
    /// The source trees are copied.
    Sync,
    /// The project's software is built, installed and started.
    Deploy,
    /// Tests are compiled on this machine, and taken to the box.
    Build,
    /// The checks run.
    Checks,
    /// Results come back.
    Collect,
    /// The box is destroyed, and its absence confirmed.
    Down,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Connect => "connect",
            Self::Stage1 => "stage 1",
            Self::Sync => "sync",
            Self::Deploy => "deploy",
            Self::Build => "build",
            Self::Checks => "checks",
            Self::Collect => "collect",
            Self::Down => "down",
        })
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A run began.
    RunBegan {
        /// Its id.
        run: RunId,
        /// The project's name.
        project: String,
        /// twolane's version.
        version: String,
    },
    /// A lane began.
    LaneBegan {
        /// Its box's name.
        label: Label,
        /// What it asks of `/dev/kvm`.
        need: KvmNeed,
        /// The checks that it is going to run, in order.
        checks: Vec<Check>,
    },
    /// A step began.
    StepBegan {
        /// Which.
        step: Step,
    },
    /// A step goes on.
    StepProgress {
        /// Which.
        step: Step,
        /// What is being done.
        message: String,
        /// How far it is, where that is known.
        amount: Option<(u64, u64)>,
    },
    /// A step ended.
    StepEnded {
        /// Which.
        step: Step,
        /// Why it failed, if it did.
        failure: Option<String>,
    },
    /// A provider is asked for a box.
    CandidateTried {
        /// Which.
        candidate: Candidate,
        /// When the box must be gone.
        deadline: Deadline,
        /// How it ends if this machine is lost now.
        dead_mans_switch: String,
        /// What is known of its price.
        #[serde(default)]
        price: Price,
    },
    /// A candidate was rejected.
    CandidateRejected {
        /// Which.
        candidate: Candidate,
        /// Why.
        why: String,
    },
    /// The box exists.
    MachineUp {
        /// What the provider said of it.
        machine: Machine,
    },
    /// A step of stage 1 began, ended or was skipped, as the box wrote it down.
    Stage1 {
        /// The step's name.
        step: String,
        /// The moment, by the box's clock, in seconds.
        box_time: f64,
        /// `begin`, `ok`, `failed` or `skipped`.
        what: String,
        /// The failure's message, the reason of the skip, or what a step that ended well has to say.
        message: Option<String>,
    },
    /// The KVM gate answered.
    Gate {
        /// The answer.
        answer: GateAnswer,
    },
    /// A source tree was copied.
    Synced {
        /// The source's name.
        source: String,
        /// What the copy did.
        synced: Synced,
    },
    /// A check began, or was found running.
    CheckBegan {
        /// The check's slug.
        check: String,
    },
    /// A check wrote something. Readers that record keep it in a file of the check's own.
    CheckOutput {
        /// The check's slug.
        check: String,
        /// Where in its output it stands, in bytes.
        offset: u64,
        /// What it wrote, as it is.
        #[serde(skip)]
        bytes: Vec<u8>,
    },
    /// Tests of a check have ended, or it begins and how long it usually takes is known. Once a second at most.
    CheckProgress {
        /// The check's slug.
        check: String,
        /// How many have ended.
        ended: u64,
        /// How many there are, as far as is known by now.
        total: u64,
        /// How many of those that have ended failed.
        failed: u64,
        /// How long the check usually takes, where earlier runs say so.
        #[serde(default)]
        usual_seconds: Option<f64>,
    },
    /// The lane takes over a check of a lane whose box was lost.
    CheckTakenOver {
        /// The check, as this lane runs it.
        check: Check,
    },
    /// A check ended.
    CheckEnded {
        /// The check's slug.
        check: String,
        /// How.
        outcome: Outcome,
        /// How long it ran, by the box's clock, in seconds.
        seconds: f64,
    },
    /// Results came back.
    Collected {
        /// Paths, relative to the run's directory.
        files: Vec<String>,
        /// What could not be had, and why.
        missing: Vec<String>,
    },
    /// The box is gone, as its provider confirmed.
    MachineGone {
        /// Its name.
        label: Label,
        /// What there was.
        resources: Vec<Gone>,
    },
    /// The box stays, as the user asked, until its deadline.
    MachineKept {
        /// Its name.
        label: Label,
        /// When it must be gone.
        deadline: Deadline,
        /// How it ends.
        dead_mans_switch: String,
    },
    /// The box could not be destroyed.
    MachineLeft {
        /// Its name.
        label: Label,
        /// Who has it.
        provider: ProviderName,
        /// The provider's id, when known.
        id: Option<String>,
        /// Why.
        why: String,
    },
    /// Something that people should know and that changes nothing.
    Notice {
        /// The sentence.
        text: String,
    },
    /// The lane could not go on, for a reason that is not the project's.
    LaneFailed {
        /// Why.
        why: String,
        /// What to do next.
        help: Option<String>,
    },
    /// A lane ended.
    LaneEnded {
        /// How.
        verdict: Verdict,
    },
    /// The user asked to stop.
    Interrupted,
    /// The run ended.
    RunEnded {
        /// How.
        verdict: Verdict,
    },
}
