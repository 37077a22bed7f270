//! Text that programs wrote, made short for a message.

use std::error::Error;

/// Returns the last lines that say something, at most `count`. A line of `@` alone, as ssh frames its warnings, says nothing.
pub fn last_lines(text: &str, count: usize) -> Vec<&str> {
    let is_decoration = |line: &str| line.chars().all(|c| c == '@');
    let mut lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    lines.retain(|line| !is_decoration(line.trim()));
    lines.split_off(lines.len().saturating_sub(count))
}

/// Returns the last four lines that say something, on one line.
pub fn last_words(text: &str) -> String {
    let lines: Vec<&str> = last_lines(text, 4).into_iter().map(str::trim).collect();
    lines.join("; ")
}

/// Returns what an error says, with all its causes, on one line.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_lines_that_say_something_count() {
        let text = "first\n@@@@@\n\n  second \n   \nthird\n";
        assert_eq!(last_lines(text, 2), ["  second", "third"]);
        assert_eq!(last_lines(text, 9), ["first", "  second", "third"]);
        assert!(last_lines("", 3).is_empty());
    }

    #[test]
    fn every_cause_is_named() {
        let error = io::Error::other(io::Error::other("the disk is full"));
        assert_eq!(error_chain(&error), "the disk is full");
        let error = toml::from_str::<bool>("x").unwrap_err();
        assert_eq!(error_chain(&error), error.to_string());
    }
}
