//! What goes wrong in a simulation, and how often; and the bugs that are put in on purpose, to see them caught.

use std::time::Duration;

use crate::clock::{Elapsed, SimClock};

/// Longest time for which a new thing may be missing from a list; what adapters say of their clouds.
pub const LISTING_LAG_MAX: Duration = Duration::from_secs(240);

/// How often each thing goes wrong, in a thousand times, and how far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    /// A create call succeeds, and its answer is lost.
    pub create_unanswered: u64,
    /// A create call is answered with a timeout, and its box turns up later.
    pub create_late: u64,
    /// A create call arrives twice.
    pub create_repeated: u64,
    /// A create call is refused, as there is no such box free.
    pub no_capacity: u64,
    /// A create call is refused, as what it asks for is wrong.
    pub create_refused: u64,
    /// A policy denies a region in which nothing is ever made.
    pub is_region_denied: bool,
    /// A call is answered with 429.
    pub rate_limited: u64,
    /// A call is answered with 500, and did nothing.
    pub unavailable: u64,
    /// For so long from the beginning, every call is answered with 500.
    pub is_down_for: Duration,
    /// A call is not answered in time, of a provider or of a box, whether it did what it was to do or not.
    pub times_out: u64,
    /// A delete is answered with OK, and does nothing.
    pub delete_ignored: u64,
    /// A delete is refused for good, and happens.
    pub delete_belied: u64,
    /// How much longer than usual what is deleted stays, at most.
    pub deletes_take: Duration,
    /// For so long from now on, every delete fails.
    pub deletes_fail_for: Duration,
    /// A new box is not listed for up to so long.
    pub listing_lag: Duration,
    /// A box is dead as soon as it is made.
    pub born_dead: u64,
    /// A box is off for a moment before it runs.
    pub is_off_while_young: bool,
    /// A box dies by itself, within its first hour.
    pub box_dies: u64,
    /// A box ends within its first twenty minutes, and its provider shows that.
    pub box_ends: u64,
    /// For so long a process's credentials are good; zero: as long as it lives.
    pub credentials_last: Duration,
    /// A box's SSH server closes each connection: until it is up, or for ever.
    pub mute: u64,
    /// The agent on a box replaces its host key, seconds after it reported the first.
    pub agent_renews: u64,
    /// A connection is lost, before or after what it carried was done.
    pub connection_lost: u64,
    /// The journal cannot be written.
    pub journal_fails: u64,
    /// From then on, for so long, the disk with the journal, the keys and the results is full.
    pub disk_full: (Duration, Duration),
    /// The operator's clock jumps between two processes.
    pub clock_jumps: u64,
    /// The operator's clock is set in the middle of a process, at a call; in a million times.
    pub clock_steps: u64,
    /// The operator's machine goes to sleep at a call; in a million times.
    pub sleeps: u64,
    /// A check fails, on the project's account.
    pub check_fails: u64,
    /// A check never ends by itself.
    pub check_hangs: u64,
    /// Tests cannot be compiled on the operator's machine.
    pub build_refused: u64,
    /// Tests do not compile, on the project's account.
    pub build_mistakes: u64,
    /// The operator edits the sources while they are compiled.
    pub edits: u64,
    /// Stage 1 fails.
    pub stage1_fails: u64,
    /// The box has no KVM that works.
    pub no_kvm: u64,
}

impl Faults {
    /// Draws which faults a simulation has. Each is there in about every second one, so that they meet in all ways.
    pub fn draw(clock: &SimClock) -> Self {
        let often = |most: u64| clock.often(most);
        let long = |most: u64| Duration::from_secs(often(most));
        Self {
            create_unanswered: often(400),
            create_late: often(300),
            create_repeated: often(200),
            no_capacity: often(400),
            create_refused: often(400),
            is_region_denied: clock.happens(500),
            rate_limited: often(150),
            unavailable: often(150),
            times_out: often(100),
            delete_ignored: often(500),
            delete_belied: often(300),
            deletes_take: long(1200),
            deletes_fail_for: long(1800),
            listing_lag: long(LISTING_LAG_MAX.as_secs()),
            born_dead: often(200),
            is_off_while_young: clock.happens(500),
            box_dies: often(300),
            box_ends: often(600),
            credentials_last: long(5400),
            mute: often(300),
            agent_renews: often(600),
            connection_lost: often(100),
            journal_fails: often(60),
            disk_full: (long(3600), long(3600)),
            clock_jumps: often(300),
            clock_steps: often(2000),
            sleeps: often(2000),
            check_fails: often(400),
            check_hangs: often(200),
            build_refused: often(300),
            build_mistakes: often(300),
            edits: often(700),
            stage1_fails: often(300),
            no_kvm: often(300),
            is_down_for: match clock.happens(100) {
                true => clock.length(Duration::ZERO, Duration::from_secs(1800)),
                false => Duration::ZERO,
            },
        }
    }

    /// Returns whether the operator's clock is right all the time.
    pub fn is_clock_right(&self) -> bool {
        self.clock_jumps == 0 && self.clock_steps == 0 && self.sleeps == 0
    }

    /// Returns how long it may take to notice that a box is dead, when its provider is asked every few seconds; none when
    /// a call may take minutes.
    pub fn death_noticed_within(&self) -> Option<Duration> {
        let answers_at_once = self.times_out == 0 && self.sleeps == 0 && self.credentials_last.is_zero();
        answers_at_once.then(|| match self.rate_limited + self.unavailable {
            0 => Duration::from_secs(15),
            _ => Duration::from_secs(90),
        })
    }

    /// Returns whether nothing can be written on the operators' disks, so long after the simulation began.
    pub fn is_disk_full(&self, now: Elapsed) -> bool {
        let (begin, length) = self.disk_full;
        begin <= now && now < begin + length
    }
}

/// How a box ends so that its provider shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoxEnd {
    /// It is off.
    Stopped,
    /// The provider has taken it back, and lists it for a while.
    Terminated,
    /// It is not listed any more.
    Gone,
}

impl BoxEnd {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stopped, Self::Terminated, Self::Gone];
}

/// A bug that is put in on purpose, in what stands for an adapter or for the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// The adapter makes the box first, and tags it with a second call.
    TagsAfterwards,
    /// The adapter makes a second box without looking for the first.
    DoesNotLook,
    /// The adapter believes the first OK of a delete.
    TrustsTheFirstOk,
    /// The adapter destroys by the id that it remembers of its create call.
    DestroysById,
    /// The adapter leaves what was made beside the box.
    LeavesTheDisk,
    /// The adapter goes by the name of a box, and not by its tag.
    GoesByName,
    /// The adapter forgets the tag with the deadline.
    ForgetsTheDeadline,
    /// The adapter says that its cloud lists all that is new at once.
    DeniesTheLag,
    /// The adapter answers every failure of a create call as a refusal.
    TakesSilenceForNo,
    /// The journal says that an intent is written, and keeps it in memory.
    LosesIntents,
    /// The journal lets two runs have the same label.
    GivesALabelTwice,
    /// The connection says that a check passed when it does not know.
    TakesSilenceForPassed,
    /// The journal says that it is written what `up` keeps, and keeps it in memory.
    LosesWhatIsKept,
    /// The journal lets two processes have the same lock.
    GivesALockTwice,
    /// The adapter says of a box that has ended that it runs.
    SaysThatTheDeadRun,
    /// The box starts once more what it has started already, such as a deploy.
    StartsTwice,
    /// The copy says that nothing has changed, and copies nothing.
    HidesEdits,
    /// The box keeps the programs of before.
    KeepsOldPrograms,
    /// The box's KVM gate says that it works where it does not.
    PassesTheGate,
    /// A runner may have more boxes than was asked for.
    RaisesMax,
    /// A runner keeps boxes without a job for hours.
    NeverIdle,
    /// The box leaves out one of the tests that it is to run.
    LosesATest,
}

impl Bug {
    /// Returns whether it shows in what serves jobs alone.
    pub fn is_of_runner(self) -> bool {
        matches!(self, Self::PassesTheGate | Self::RaisesMax | Self::NeverIdle)
    }

    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::TagsAfterwards,
        Self::DoesNotLook,
        Self::TrustsTheFirstOk,
        Self::DestroysById,
        Self::LeavesTheDisk,
        Self::GoesByName,
        Self::ForgetsTheDeadline,
        Self::DeniesTheLag,
        Self::TakesSilenceForNo,
        Self::LosesIntents,
        Self::GivesALabelTwice,
        Self::TakesSilenceForPassed,
        Self::LosesWhatIsKept,
        Self::GivesALockTwice,
        Self::SaysThatTheDeadRun,
        Self::StartsTwice,
        Self::HidesEdits,
        Self::KeepsOldPrograms,
        Self::PassesTheGate,
        Self::RaisesMax,
        Self::NeverIdle,
        Self::LosesATest,
    ];
}
