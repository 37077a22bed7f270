//! The words and the decisions of twolane.
//! Keeps out: async work, I/O, clocks and randomness. Whatever needs those is seen through [`world`].

pub mod candidate;
pub mod check;
pub mod cloud;
pub mod config;
pub mod error;
pub mod event;
pub mod follow;
pub mod gate;
pub mod host;
pub mod journal;
pub mod lane;
pub mod limits;
pub mod machine;
pub mod matrix;
pub mod money;
pub mod name;
pub mod order;
pub mod plan;
pub mod price;
pub mod profile;
pub mod reap;
pub mod receipt;
pub mod render;
pub mod report;
pub mod results;
pub mod retry;
pub mod selector;
pub mod source;
pub mod split;
pub mod stage1;
pub mod tag_line;
pub mod tags;
pub mod time;
pub mod verdict;
pub mod world;
