//! Text that a box wrote, made harmless for a terminal: only plain colours stay of its escape sequences.

use anstyle_parse::{Params, Parser, Perform, Utf8Parser};

/// Turns bytes into lines that are safe to print. Keeps what has not been ended yet, so that a line,
/// a character or a sequence may be cut anywhere between two calls.
#[derive(Default)]
pub(crate) struct Lines {
    rest: Vec<u8>,
}

/// A line without an end is cut here, so that a box cannot fill the memory.
const LINE_MAX: usize = 16 * 1024;

impl Lines {
    /// Takes bytes and returns the lines that they end, without their newlines.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.rest.extend_from_slice(bytes);
        let mut lines = Vec::new();
        let mut begin = 0;
        while let Some(length) = next_cut(&self.rest[begin..]) {
            lines.push(clean(&self.rest[begin..begin + length]));
            begin += length;
        }
        self.rest.drain(..begin);
        lines
    }

    /// Returns the last line, when it has no newline.
    pub(crate) fn finish(&mut self) -> Option<String> {
        let rest = std::mem::take(&mut self.rest);
        (!rest.is_empty()).then(|| clean(&rest))
    }
}

fn next_cut(bytes: &[u8]) -> Option<usize> {
    let window = &bytes[..bytes.len().min(LINE_MAX)];
    match window.iter().position(|byte| *byte == b'\n') {
        Some(at) => Some(at + 1),
        None if window.len() == LINE_MAX => Some(LINE_MAX),
        None => None,
    }
}

/// Returns one line without its newline: valid text, no control characters, no sequence but colours, colours switched off at its end.
pub(crate) fn clean(line: &[u8]) -> String {
    // Most lines hold nothing but text: a long log is read many times faster so.
    let end = line.len() - usize::from(line.ends_with(b"\n"));
    if line[..end].iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
        return String::from_utf8_lossy(&line[..end]).into_owned();
    }
    let line = String::from_utf8_lossy(line);
    let line = line.trim_end_matches(['\n', '\r']);
    // What a program rewrote on the same line: the last state is the one that people would see.
    let line = line.rsplit('\r').next().unwrap_or(line);
    let mut cleaner = Cleaner::default();
    let mut parser = Parser::<Utf8Parser>::new();
    for c in line.chars() {
        // The 8-bit form of a sequence's first two bytes.
        if matches!(c, '\u{80}'..='\u{9f}') {
            let short = [0x1b, c as u8 - 0x40];
            short.iter().for_each(|byte| parser.advance(&mut cleaner, *byte));
        } else {
            let bytes = c.encode_utf8(&mut [0; 4]).as_bytes().to_vec();
            bytes.iter().for_each(|byte| parser.advance(&mut cleaner, *byte));
        }
    }
    if cleaner.is_coloured {
        cleaner.text.push_str("\x1b[0m");
    }
    cleaner.text
}

/// Keeps text and plain colours of what a terminal would be sent.
#[derive(Default)]
struct Cleaner {
    text: String,
    is_coloured: bool,
}

impl Perform for Cleaner {
    fn print(&mut self, c: char) {
        if !c.is_control() && !is_reordering(c) {
            self.text.push(c);
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            self.text.push('\t');
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], is_ignored: bool, action: u8) {
        if action != b'm' || is_ignored || !intermediates.is_empty() {
            return;
        }
        let numbers = |part: &[u16]| part.iter().map(u16::to_string).collect::<Vec<_>>().join(":");
        let parameters: Vec<String> = params.iter().map(numbers).collect();
        self.text += &format!("\x1b[{}m", parameters.join(";"));
        self.is_coloured = true;
    }
}

/// Returns whether a character changes the direction of what follows, and so can make a line show what it does not say.
fn is_reordering(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
}

/// Returns the text without its colours.
pub(crate) fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

/// Returns the lines of a text, made harmless and without colours.
pub(crate) fn plain_lines(text: &str) -> Vec<String> {
    text.lines().map(|line| plain(&clean(line.as_bytes()))).collect()
}

/// Returns a text made harmless and without colours, on one line.
pub(crate) fn one_line(text: &str) -> String {
    plain_lines(text).join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str) {
        assert_eq!(clean(given.as_bytes()), expected, "{given:?}");
    }

    #[test]
    fn only_plain_colours_stay() {
        check("a\x1b[31mred\x1b[0m", "a\x1b[31mred\x1b[0m\x1b[0m");
        check("a\x1b[2J\x1b[Hb", "ab");
        check("a\x1b[?25lb", "ab");
        check("a\x1b[>4;2mb", "ab");
        check("a\x1b]0;title\x07b", "ab");
        check("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\b", "alinkb");
        check("a\x1bPq#0\x1b\\b", "ab");
        check("a\u{9b}2Jb", "ab");
        check("a\x1b(Bb", "ab");
        check("a\x1bcb", "ab");
        check("a\x1b[31", "a");
        check("a\x1b", "a");
        check("a\x08\x07\0b\tc", "ab\tc");
        check("a\u{202e}b", "ab");
    }

    #[test]
    fn the_last_state_of_a_rewritten_line_counts() {
        check("10 %\r20 %\r\n", "20 %");
        check("done\r\n", "done");
    }

    #[test]
    fn a_line_may_be_cut_anywhere() {
        let given = "ä\x1b[32mok\x1b[0m ö\nnext".as_bytes();
        for cut in 0..given.len() {
            let mut lines = Lines::default();
            let mut got = lines.take(&given[..cut]);
            got.extend(lines.take(&given[cut..]));
            assert_eq!(got, ["ä\x1b[32mok\x1b[0m ö\x1b[0m"], "cut at {cut}");
            assert_eq!(lines.finish().as_deref(), Some("next"));
        }
    }

    #[test]
    fn a_line_without_an_end_does_not_grow() {
        let mut lines = Lines::default();
        let got = lines.take(&vec![b'x'; 3 * LINE_MAX + 5]);
        assert_eq!(got.len(), 3);
        assert_eq!(lines.finish().as_deref(), Some("xxxxx"));
    }

    #[test]
    fn invalid_text_is_shown_as_such() {
        assert_eq!(clean(b"a\xffb"), "a\u{fffd}b");
    }
}
