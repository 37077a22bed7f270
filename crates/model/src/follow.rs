//! The answer of `twolane-box follow`.
