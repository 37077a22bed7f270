//! The providers of boxes, each as a `world::Provider`.
//! Keeps out: deciding which of them serves a lane, and what to do when one refuses.

pub mod address;
pub mod child;
mod clouds;
pub mod contract;
mod environment;
pub mod equinix;
pub mod host;
pub mod http;
pub mod kvm;
pub mod local;
pub mod shell;

pub use clouds::{endpoint, from_environment, names, permissions};
pub use environment::{CloudAccess, Environment, this_machine};

macro_rules! clouds {
    ($($name:ident),+) => {
        $(pub mod $name;)+

        const CLOUDS: &[environment::Entry] = &[$($name::ENTRY),+];
    };
}

// A new cloud is a folder, and its name here.
clouds!(aws, azure, gcp, hetzner, latitude, ovh, vultr);
