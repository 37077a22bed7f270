//! The KVM gate's answer, and whether a lane can use it.

use serde::{Deserialize, Serialize};

/// What the probe found out about a machine's `/dev/kvm`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateAnswer {
    /// Whether a guest like a Linux kernel can run.
    pub works: bool,
    /// One clear sentence.
    pub sentence: String,
}
