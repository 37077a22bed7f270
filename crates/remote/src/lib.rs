//! The way to the boxes: keys, one OpenSSH connection for each box, rsync over it. Knows nothing of runs,
//! providers or checks, and touches neither the user's `~/.ssh` nor the system's SSH configuration, which count only on the way
//! to a machine that a box is reached through.

mod answer;
mod blocking;
mod bounds;
mod control;
mod copy;
mod directories;
mod environment;
mod failure;
mod fetch;
mod follow;
mod git;
#[cfg(test)]
mod git_agrees;
mod jump;
mod keys;
mod layout;
mod manifest;
mod master;
mod probe;
mod quote;
mod selection;
mod session;
mod shell;
mod ssh;
mod sync;

pub use follow::{Followed, Follower};
pub use layout::Layout;
pub use manifest::{LEFT_OUT, Left, Why, left_behind};
pub use ssh::Ssh;
