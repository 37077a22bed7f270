//! Carries out a plan. Sees the world only through `model::world`, and awaits nothing else.
//! Read `run.rs` first.

mod alive;
mod begun;
mod build;
mod checks;
pub mod cloud;
pub mod collect;
mod deploy;
pub mod down;
pub mod extend;
mod lane;
mod link;
pub mod open;
pub mod reap;
mod retry;
pub mod run;
pub mod runner;
mod shards;
mod stage1;
mod stop;
mod sync;
mod time;
mod up;

pub use lane::Lane;
pub use link::Link;
pub use shards::Shards;
pub use stop::FirstOf;
pub use time::deadline;
