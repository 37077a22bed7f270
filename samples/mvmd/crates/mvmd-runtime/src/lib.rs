//! What mvm-hostd does, and the messages that all daemons speak.

pub mod boot;
pub mod message;
pub mod serve;
