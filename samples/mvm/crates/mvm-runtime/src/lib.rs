//! Runs a few bytes of guest code in a microVM of its own, with /dev/kvm's raw interface.

mod kvm;
mod sys;

pub mod guest;

pub use kvm::{API_VERSION, Ended, Failed, MicroVm, PAGE, open};
