//! `[deploy]`: what stage 2 builds and installs.

use serde::{Deserialize, Serialize};

/// What stage 2 builds and installs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deploy {
    /// Programs that are built in release mode and installed.
    pub binaries: Vec<Binary>,
    /// Templates of configuration files.
    pub configs: Vec<String>,
    /// systemd units that are enabled and started, in this order.
    pub units: Vec<String>,
    /// The script that a check with `run = "smoke"` runs.
    pub smoke: Option<String>,
    /// The directory on the box that configuration files are written to.
    pub config_dir: String,
    /// The system user of the daemons. Its group may read the configuration.
    pub user: String,
}

impl Default for Deploy {
    fn default() -> Self {
        Self {
            binaries: Vec::new(),
            configs: Vec::new(),
            units: Vec::new(),
            smoke: None,
            config_dir: "/etc/daemons".to_owned(),
            user: "daemons".to_owned(),
        }
    }
}

/// One program that is built and installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binary {
    /// The workspace package that it belongs to.
    pub package: String,
    /// Its name.
    pub bin: String,
}
