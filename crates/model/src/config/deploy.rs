//! `[deploy]`: what stage 2 builds and installs.

use serde::{Deserialize, Serialize};

/// What stage 2 builds and installs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deploy {
    /// Programs that are built in release mode and installed.
    pub binaries: Vec<Binary>,
    /// Templates of configuration files.
    pub configs: Vec<String>,
    /// systemd units that are enabled and started, in this order.
    pub units: Vec<String>,
    /// The script that a check with `run = "smoke"` runs.
    pub smoke: Option<String>,
}

/// One program that is built and installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    /// The workspace package that it belongs to.
    pub package: String,
    /// Its name.
    pub bin: String,
}
