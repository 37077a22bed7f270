//! Stage 1 as the box tells of it.
