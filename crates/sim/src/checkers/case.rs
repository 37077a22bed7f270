//! What a checker reads.

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
    /// Whether each provider answered every call at once.
    pub is_api_reliable: bool,
}
