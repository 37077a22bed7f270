//! What is sent to a box, as text.
//! Keeps out: sending it, and deciding what should be on the box.

pub mod ci;
pub mod cloud_init;
pub mod own_firewall;
pub mod post_deploy;
mod shell;
pub mod stage1;
mod validate;

pub use shell::quote;

/// The tool that twolane puts on each box, and calls over SSH.
pub const TWOLANE_BOX: &str = include_str!("../../../../ops/ephemeral/twolane-box.sh");

/// The probe that says whether `/dev/kvm` really works; the same for this machine and for a box.
pub const KVM_GATE: &str = include_str!("../../../../ops/ephemeral/kvm-gate.py");

/// Where the box keeps [`TWOLANE_BOX`].
pub const TWOLANE_BOX_PATH: &str = "/usr/local/lib/twolane/twolane-box";

/// Where the box keeps [`KVM_GATE`].
pub const KVM_GATE_PATH: &str = "/usr/local/lib/twolane/kvm-gate.py";

/// Where stage 1 leaves the gate's answer.
pub const GATE_ANSWER_PATH: &str = "/var/lib/twolane/gate.json";

/// Where stage 1 writes all that its commands print.
pub const STAGE1_LOG_PATH: &str = "/var/lib/twolane/stage1.log";

/// The directory on the box that holds the operator's toolchain of this key.
pub fn toolchain_path(key: &str) -> String {
    format!("/opt/twolane/toolchain/{key}")
}
