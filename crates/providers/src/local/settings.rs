//! What can be chosen about local boxes.

use std::time::Duration;

use model::config::Network;

use super::{Acceleration, Image, Programs};

/// What the operator chose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LocalSettings {
    /// The operating system.
    pub image: Image,
    /// Where Debian's packages come from; mmdebstrap's own choice when not given. A URL or a whole line for `sources.list`.
    pub mirror: Option<String>,
    /// How the CPU is run.
    pub acceleration: Acceleration,
    /// The programs that boxes are run with.
    pub programs: Programs,
    /// Whether each box boots by itself, instead of going on where a template was frozen.
    pub is_cold: bool,
    /// How long a clone may take to become itself; a minute when not given.
    pub clone_patience: Option<Duration>,
    /// What boxes reach.
    pub network: Network,
    /// What they reach beside that: `ADDRESS[/BITS][:PORT]`.
    pub allow: Vec<String>,
}
