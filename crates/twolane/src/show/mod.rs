//! Readers of the stream of events, and the two streams that they print to.

pub(crate) mod clean;
pub(crate) mod github;
pub(crate) mod gitlab;
pub(crate) mod html;
pub(crate) mod json;
pub(crate) mod junit;
pub(crate) mod lines;
pub(crate) mod markdown;
pub(crate) mod matrix;
pub(crate) mod problem;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod results;
pub(crate) mod skips;
pub(crate) mod standing;
pub(crate) mod stream;
pub(crate) mod summary;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod text;
pub(crate) mod written;

use std::sync::Arc;

use model::{event::EventRecord, world::Events};

/// Hands every event to every reader.
pub(crate) struct Fan(pub(crate) Vec<Arc<dyn Events>>);

impl Events for Fan {
    fn emit(&self, record: EventRecord) {
        for reader in &self.0 {
            reader.emit(record.clone());
        }
    }
}
