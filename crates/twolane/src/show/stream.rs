//! The two streams: results go to standard output, progress and problems to standard error.
//! Nothing else in the program prints.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
    sync::OnceLock,
};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use super::clean::plain;

/// How a command prints.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// One JSON document, or one event a line, instead of text.
    pub(crate) is_json: bool,
    /// Number of `-v` flags.
    pub(crate) verbosity: u8,
    /// Print only problems and results.
    pub(crate) is_quiet: bool,
    /// Whether colours are used.
    pub(crate) color: ColorChoice,
}

/// Why a result could not be written, the first time that it could not.
static LOST: OnceLock<io::Error> = OnceLock::new();

impl Style {
    /// Writes a result for people, with a newline at its end.
    pub(crate) fn result(self, text: &str) {
        write_out(AutoStream::new(io::stdout(), self.color), &harmless(text));
    }

    /// Writes a result for programs: one document.
    pub(crate) fn document(self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => write_out(io::stdout(), &harmless_json(text)),
            Err(error) => self.message(&format!("error: could not write the result as JSON: {error}")),
        }
    }

    /// Writes a result for programs: one line.
    pub(crate) fn line(self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string(value) {
            write_out(io::stdout(), &harmless_json(text));
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(self, bytes: &[u8]) {
        record_loss(io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()));
    }

    /// Writes one thing that the user should know now. A closed terminal is no reason to stop.
    pub(crate) fn message(self, text: &str) {
        self.command(&harmless(text));
    }

    /// Writes a workflow command of GitHub's: the only text that may be one.
    pub(crate) fn command(self, text: &str) {
        let mut stream = AutoStream::new(io::stderr(), self.color);
        let _ = stream.write_all(format!("{text}\n").as_bytes());
    }

    /// Returns whether colours are used on standard error.
    pub(crate) fn has_color_on_stderr(self) -> bool {
        match self.color {
            ColorChoice::Auto => AutoStream::choice(&io::stderr()) != ColorChoice::Never,
            ColorChoice::Never => false,
            ColorChoice::Always | ColorChoice::AlwaysAnsi => true,
        }
    }

    /// Returns whether lines on standard error can be redrawn.
    pub(crate) fn can_redraw(self) -> bool {
        !self.is_quiet
            && io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
    }
}

/// Returns the text without what GitHub takes for a workflow command: a box, or a pull request, must not give any. Such a line
/// loses its colours, which would otherwise be taken out only behind this.
fn harmless(text: &str) -> Cow<'_, str> {
    if !text.contains("::") && !text.contains('#') {
        return Cow::Borrowed(text);
    }
    let lines = text.split('\n').map(|line| {
        let plain = plain(line);
        let begin = plain.trim_start();
        match begin.starts_with("::") || plain.contains("##[") {
            true => Cow::Owned(
                format!(
                    "{}{}",
                    &plain[..plain.len() - begin.len()],
                    begin.replacen("::", ": :", 1)
                )
                .replace("##[", "# #["),
            ),
            false => Cow::Borrowed(line),
        }
    });
    Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
}

/// Does the same with JSON, where it can stand only in a string, and leaves its meaning.
fn harmless_json(text: String) -> String {
    match text.contains("##[") {
        true => text.replace("##[", "#\\u0023["),
        false => text,
    }
}

/// Returns why a result could not be written, if so. A reader that had enough, as `head` has, is no failure.
pub(crate) fn lost() -> Option<&'static io::Error> {
    LOST.get()
        .filter(|error| error.kind() != io::ErrorKind::BrokenPipe)
}

/// Returns whether nobody reads standard output any more.
pub(crate) fn is_closed() -> bool {
    LOST.get().is_some()
}

fn write_out(mut stream: impl Write, text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    record_loss(
        stream
            .write_all(format!("{text}{end}").as_bytes())
            .and_then(|()| stream.flush()),
    );
}

fn record_loss(written: io::Result<()>) {
    if let Err(error) = written {
        let _ = LOST.set(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, written: &str) {
        assert_eq!(harmless(given), written, "{given:?}");
    }

    #[test]
    fn no_line_is_a_workflow_command() {
        check("::warning::x", ": :warning::x");
        check("a\n   ::add-mask::x\nb", "a\n   : :add-mask::x\nb");
        check("\x1b[31m::error::x\x1b[0m", ": :error::x");
        check("see ##[group]x", "see # #[group]x");
        check("see #\x1b[0m#[group]x", "see # #[group]x");
        check("::a ##[b] ##[c]", ": :a # #[b] # #[c]");
        check("std::fs and a # b", "std::fs and a # b");
        check("\x1b[1mstd::fs\x1b[0m", "\x1b[1mstd::fs\x1b[0m");
    }

    #[test]
    fn json_means_the_same_without_a_workflow_command() {
        let text = harmless_json(r###"{"a":"##[group]x"}"###.to_owned());
        assert!(!text.contains("##["));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["a"], "##[group]x");
    }
}
