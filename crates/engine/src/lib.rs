//! Carries out a plan. Sees the world only through `model::world`, and awaits nothing else.
//! Read `run.rs` first.

pub mod checks;
pub mod cloud;
pub mod collect;
pub mod deploy;
pub mod down;
pub mod extend;
mod lane;
mod link;
pub mod open;
pub mod reap;
pub mod run;
mod stage1;
pub mod sync;
mod time;
pub mod up;

pub use lane::Lane;
pub use link::Link;
