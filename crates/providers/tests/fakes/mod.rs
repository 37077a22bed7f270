//! Stateful stand-ins for the clouds, and what they share. They speak the real wire format over loopback.

pub(crate) mod aws;
pub(crate) mod azure;
pub(crate) mod botocore;
pub(crate) mod clock;
pub(crate) mod gcp;
pub(crate) mod hetzner;
pub(crate) mod latitude;
pub(crate) mod ovh;
pub(crate) mod server;
pub(crate) mod spec;
pub(crate) mod vultr;
