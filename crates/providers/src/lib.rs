//! The places that give boxes, each as a `world::Provider`.
//! Keeps out: deciding which of them serves a lane, and what to do when one refuses.

pub mod address;
pub mod aws;
pub mod azure;
pub mod contract;
mod environment;
pub mod equinix;
pub mod gcp;
pub mod hetzner;
pub mod host;
pub mod http;
pub mod kvm;
pub mod latitude;
pub mod local;
pub mod ovh;
pub mod shell;
pub mod vultr;

pub use environment::{CloudAccess, Environment, endpoint, from_environment, this_machine};
