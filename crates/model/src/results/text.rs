//! Text of bounded size, and places in it.

use super::Place;

/// The longest name or message that is kept, in bytes.
const LINE_MAX: usize = 500;
/// How much of a test's output is kept, in bytes.
const OUTPUT_MAX: usize = 16 * 1024;
/// How much of a finding is kept, in bytes.
const DETAIL_MAX: usize = 4 * 1024;

/// Returns the text, cut to the length of a line that people read.
pub(super) fn short(text: &str) -> String {
    let text = text.trim();
    if text.len() <= LINE_MAX {
        return text.to_owned();
    }
    format!("{}…", &text[..text.floor_char_boundary(LINE_MAX)])
}

/// Text whose end is kept.
#[derive(Debug, Default)]
pub(super) struct End {
    text: String,
    is_cut: bool,
}

impl End {
    /// Adds a line.
    pub(super) fn push(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        if self.text.len() > 2 * OUTPUT_MAX {
            self.cut();
        }
    }

    /// Adds text as it is.
    pub(super) fn push_text(&mut self, text: &str) {
        let surplus = text.len().saturating_sub(2 * OUTPUT_MAX);
        self.is_cut |= surplus > 0;
        self.text.push_str(&text[text.ceil_char_boundary(surplus)..]);
        if self.text.len() > 2 * OUTPUT_MAX {
            self.cut();
        }
    }

    /// Returns the first line with something in it.
    pub(super) fn begin(&self) -> &str {
        self.text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .unwrap_or_default()
    }

    /// Returns what was kept, without empty lines around it.
    pub(super) fn finish(mut self) -> String {
        if self.text.len() > OUTPUT_MAX {
            self.cut();
        }
        let text = self.text.trim_end().trim_start_matches('\n');
        if self.is_cut {
            format!("[the beginning is left out]\n{text}")
        } else {
            text.to_owned()
        }
    }

    fn cut(&mut self) {
        let surplus = self.text.len().saturating_sub(OUTPUT_MAX);
        self.text.drain(..self.text.ceil_char_boundary(surplus));
        self.is_cut = true;
    }
}

/// How much of the outputs of all tests together is kept, in bytes.
const OUTPUTS_MAX: usize = 32 << 20;

/// What is left for the outputs of tests.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(OUTPUTS_MAX)
    }
}

impl Budget {
    /// Returns the output, or that it is left out.
    pub(super) fn keep(&mut self, output: String) -> String {
        match self.0.checked_sub(output.len()) {
            Some(left) => {
                self.0 = left;
                output
            }
            None => "[left out: too much was written by tests that failed]".to_owned(),
        }
    }
}

/// Adds a line to text whose beginning is kept.
pub(super) fn push_detail(detail: &mut String, line: &str) {
    if detail.len() + line.len() < DETAIL_MAX {
        detail.push_str(line);
        detail.push('\n');
    }
}

/// Reads `FILE:LINE`, `FILE:LINE:COLUMN`, either with a colon behind it.
pub(super) fn place(text: &str) -> Option<Place> {
    let text = text.trim().trim_end_matches(':');
    let (rest, last) = text.rsplit_once(':')?;
    let last: u32 = last.parse().ok()?;
    let (file, line, column) = match rest.rsplit_once(':') {
        Some((file, line)) if line.parse::<u32>().is_ok() => (file, line.parse().ok()?, Some(last)),
        _ => (rest, last, None),
    };
    (!file.is_empty() && !file.contains(char::is_control)).then(|| Place {
        file: short(file),
        line,
        column,
    })
}

/// Finds where a test failed, and the first line of why, in what it wrote.
pub(super) fn failure(output: &str) -> (Option<Place>, Option<String>) {
    let mut lines = output.lines();
    while let Some(line) = lines.next() {
        let reported = ["panicked at ", "as expected at "]
            .iter()
            .find_map(|words| line.split_once(words));
        let Some((before, at)) = reported else { continue };
        let found = place(at).filter(|place| !is_foreign(&place.file));
        let message = match before.strip_prefix("note: ") {
            Some(note) => format!("{note}as expected"),
            None => lines.next().unwrap_or_default().to_owned(),
        };
        return (found, Some(short(&message)).filter(|text| !text.is_empty()));
    }
    let reported = |line: &&str| line.starts_with("Error: ");
    let first = output
        .lines()
        .find(reported)
        .or_else(|| output.lines().find(|line| !line.trim().is_empty()));
    (None, first.map(short))
}

/// Returns whether a file is none of the project's: the standard library's, or one that rustdoc wrote.
fn is_foreign(file: &str) -> bool {
    file.starts_with("/rustc/") || file.contains("/rustdoctest")
}
