//! How much of what a box wrote the page holds, so that any browser can open it.

use maud::{Markup, html as markup};

use super::words::line;

/// The most that the page holds of outputs and lists, in bytes as they stand in it.
const ROOM: usize = 14 << 20;
/// The most that it holds of one output.
const OUTPUT_MAX: usize = 64 << 10;

/// What is left of the page's budget.
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(ROOM)
    }
}

impl Budget {
    /// Takes so many bytes, if they are left.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(self.0);
        left.is_some()
    }
}

/// Shows what a program wrote: its end, when it is long.
pub(super) fn output(name: &str, text: &str, budget: &mut Budget) -> Markup {
    if text.trim().is_empty() {
        return markup! { p.dim { "It wrote nothing." } };
    }
    let cut = text.len().saturating_sub(OUTPUT_MAX);
    let lines: Vec<String> = text[text.ceil_char_boundary(cut)..].lines().map(line).collect();
    let shown = lines.join("\n");
    if !budget.take(escaped_length(&shown)) {
        return markup! { p.dim { "Left out, as the page would be too big; the run's directory has it." } };
    }
    markup! {
        @if cut > 0 { p.dim { "The beginning is left out." } }
        // It can scroll, so it must be reachable by keyboard, and then it needs a name.
        pre tabindex="0" role="region" aria-label=(name) { (shown) }
    }
}

/// Returns how long a text is once it is escaped.
pub(super) fn escaped_length(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'<' | b'>' => 4,
            b'&' => 5,
            b'"' => 6,
            _ => 1,
        })
        .sum()
}
