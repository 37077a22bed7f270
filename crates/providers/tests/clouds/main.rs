//! Each cloud against its fake: the contract that every provider must pass, and what goes wrong on the way.

#[path = "../fakes/mod.rs"]
mod fakes;

mod aws;
mod azure;
mod bench;
mod fuzz;
mod gcp;
mod hetzner;
mod latitude;
mod moto;
mod orders;
mod ovh;
mod permissions;
mod vultr;
