//! The places that give boxes, each as a `world::Provider`.
//! Keeps out: deciding which of them serves a lane, and what to do when one refuses.

pub mod contract;
pub mod equinix;
pub mod local;
