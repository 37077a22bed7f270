//! What can be chosen about shell adapters.

use std::{net::IpAddr, time::Duration};

use super::address;

/// What they are run with, and how long each call may take.
#[derive(Debug, Clone)]
pub struct ShellSettings {
    /// The bash that they are run with. A bare name is looked for in PATH.
    pub bash: String,
    /// How long reading a file, or asking for a default, may take.
    pub read_max: Duration,
    /// How long `provider_up` may take.
    pub up_max: Duration,
    /// How long `provider_down` may take.
    pub down_max: Duration,
    /// How long after a failed `provider_up` its box may still turn up.
    pub settling: Duration,
    /// Returns whether this machine has a route to an address.
    pub has_route: fn(IpAddr) -> bool,
}

impl Default for ShellSettings {
    fn default() -> Self {
        Self {
            bash: "bash".to_owned(),
            read_max: Duration::from_secs(10),
            // Less than the engine gives a provider, so that the adapter's own error is shown.
            up_max: Duration::from_secs(40 * 60),
            down_max: Duration::from_secs(10 * 60),
            settling: Duration::from_secs(30),
            has_route: address::has_route,
        }
    }
}
