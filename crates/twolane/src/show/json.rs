//! Every event as one line of JSON on standard output.

use model::{
    event::{Event, EventRecord},
    world::Events,
};
use serde_json::Value;

use super::{clean, stream::Style};
use crate::show::terminal::Mailbox;

/// Writes events as lines of JSON, on a thread of its own: a reader that does not read holds nothing up.
pub(crate) struct Json(Mailbox);

impl Json {
    /// Starts the writer.
    pub(crate) fn start(style: Style) -> Self {
        Self(Mailbox::start("json", move |inbox| {
            for record in inbox {
                style.line(&line(&record));
            }
        }))
    }

    /// Waits until all has been written.
    pub(crate) fn finish(&self) {
        self.0.finish();
    }
}

impl Events for Json {
    fn emit(&self, record: EventRecord) {
        self.0.send(record);
    }
}

/// Returns the event with what a check wrote as text, which its written form leaves out.
fn line(record: &EventRecord) -> Value {
    let mut line = serde_json::to_value(record).unwrap_or(Value::Null);
    if let (Event::CheckOutput { bytes, .. }, Some(fields)) = (&record.event, line.as_object_mut()) {
        let text: Vec<String> = bytes.split(|byte| *byte == b'\n').map(clean::clean).collect();
        fields.insert("text".to_owned(), clean::plain(&text.join("\n")).into());
    }
    line
}
