//! A world with no network, no disk and no time: the real engine runs in it by the thousand, is killed at every call,
//! and checkers see what must never be. Every choice comes from one seed.

pub mod api;
pub mod boxes;
pub mod checkers;
pub mod clock;
pub mod cloud;
pub mod faults;
pub mod jobs;
pub mod journal;
pub mod keys;
pub mod record;
pub mod remote;
pub mod runner;
pub mod scenario;
pub mod world;

pub use faults::{BoxEnd, Bug, Faults};
pub use runner::RunnerScenario;
pub use scenario::{Action, Next, Outcome, Scenario};
