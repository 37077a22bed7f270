//! Text that a box wrote, made harmless for a terminal: only plain colours stay of its escape sequences.

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
    let mut text = String::with_capacity(line.len());
    let mut is_coloured = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' => match chars.next() {
                Some('[') => is_coloured |= take_csi(&mut chars, &mut text),
                Some(']' | 'P' | 'X' | '^' | '_') => skip_string(&mut chars),
                Some('(' | ')' | '*' | '+' | '#' | '%' | ' ') => {
                    chars.next();
                }
                _ => {}
            },
            '\u{9b}' => is_coloured |= take_csi(&mut chars, &mut text),
            '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}' => skip_string(&mut chars),
            '\t' => text.push('\t'),
            c if c.is_control() || is_reordering(c) => {}
            c => text.push(c),
        }
    }
    if is_coloured {
        text.push_str("\x1b[0m");
    }
    text
}

/// Copies a control sequence when it is a plain colour; says whether it was.
fn take_csi(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &mut String) -> bool {
    let mut parameters = String::new();
    while let Some(c) = chars.next_if(|c| ('\x20'..='\x7e').contains(c)) {
        if ('\x40'..='\x7e').contains(&c) {
            let is_colour = c == 'm'
                && parameters
                    .chars()
                    .all(|c| c.is_ascii_digit() || c == ';' || c == ':');
            if is_colour {
                text.push_str(&format!("\x1b[{parameters}m"));
            }
            return is_colour;
        }
        parameters.push(c);
    }
    false
}

/// Skips a string sequence, such as the one that sets a terminal's title, up to its end.
fn skip_string(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    while let Some(c) = chars.next() {
        match c {
            '\x07' | '\u{9c}' => return,
            '\x1b' => {
                chars.next_if_eq(&'\\');
                return;
            }
            _ => {}
        }
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
