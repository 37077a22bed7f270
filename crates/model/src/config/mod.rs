//! Flags and `twolane.toml` as typed → configuration as meant.

mod system;

pub use system::System;
