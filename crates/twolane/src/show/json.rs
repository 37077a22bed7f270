//! Every event as one line of JSON on standard output.

use model::{
    event::{Event, Happening},
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
            for happening in inbox {
                style.line(&line(&happening));
            }
        }))
    }

    /// Waits until all has been written.
    pub(crate) fn finish(&self) {
        self.0.finish();
    }
}

impl Events for Json {
    fn tell(&self, happening: Happening) {
        self.0.send(happening);
    }
}

/// Returns the event with what a check wrote as text, which its written form leaves out.
fn line(happening: &Happening) -> Value {
    let mut line = serde_json::to_value(happening).unwrap_or(Value::Null);
    if let (Event::CheckOutput { bytes, .. }, Some(fields)) = (&happening.event, line.as_object_mut()) {
        let text: Vec<String> = bytes.split(|byte| *byte == b'\n').map(clean::clean).collect();
        fields.insert("text".to_owned(), clean::plain(&text.join("\n")).into());
    }
    line
}
