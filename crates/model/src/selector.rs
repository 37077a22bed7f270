//! Which boxes an operation is about.

use crate::name::{Label, RunId};

/// The boxes that a `down` destroys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// The one of this label, in whichever region it is and whosever it is.
    Label(Label),
    /// The one of this label, if it was made for this run: another machine may have a box of the same label.
    OfRun(Label, RunId),
    /// All that carry the tag.
    AllOurs,
}
