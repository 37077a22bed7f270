//! What a checker reads.

use std::time::Duration;

use crate::{clock::Elapsed, record::Observation, world::Sim};

/// What a checker is given: all that was seen, and the world as it is in the end.
pub struct Case<'a> {
    /// In order.
    pub seen: &'a [(Elapsed, Observation)],
    /// The world.
    pub sim: &'a Sim,
    /// Whether nothing went wrong but that processes were killed.
    pub is_calm: bool,
    /// Whether the operator's clock was right all the time.
    pub is_clock_right: bool,
    /// Whether the journal could be read all the time.
    pub is_journal_readable: bool,
    /// Whether no call timed out, and no machine slept in the middle of one.
    pub are_calls_quick: bool,
    /// How long it may take to notice that a box is dead, where that can be said.
    pub death_noticed_within: Option<Duration>,
}
