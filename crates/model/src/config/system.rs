//! `[system]`: what stage 1 installs.

use serde::{Deserialize, Serialize};

/// What stage 1 installs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Distribution packages.
    pub packages: Vec<String>,
}
