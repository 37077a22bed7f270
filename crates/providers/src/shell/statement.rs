//! Reports a declaration from a command that does something, in a command as bash prints it.

/// Commands that only change the shell that runs them.
const HARMLESS: [&str; 8] = [
    ":", "true", "set", "shopt", "readonly", "declare", "typeset", "export",
];

/// Returns whether a command does nothing but set variables and options of the shell itself.
pub(crate) fn is_declaration(command: &str) -> bool {
    match words(command) {
        Some(words) => {
            words.iter().all(|word| is_assignment(word))
                || words
                    .first()
                    .is_some_and(|word| HARMLESS.contains(&word.as_str()))
                    && !words.iter().any(|word| evaluates(word))
        }
        None => false,
    }
}

/// Returns whether an option has bash evaluate what is assigned: as arithmetic, in which commands can stand, or as a name.
fn evaluates(word: &str) -> bool {
    word.starts_with('-') && !word.starts_with("--") && word.contains(['i', 'n'])
}

/// Returns the words of a simple command; none when a part of it would run another command, or is a redirection.
fn words(command: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut quote = None;
    let mut depth = 0_u32;
    let mut rest = command.chars().peekable();
    while let Some(c) = rest.next() {
        let next = rest.peek().copied();
        match (quote, c) {
            (Some('\''), '\'') => quote = None,
            (Some('\''), _) => {}
            (_, '`') | (_, '$') if c == '`' || matches!(next, Some('(' | '{')) && runs(c, &rest) => {
                return None;
            }
            (_, '\\') => {
                rest.next();
            }
            (Some('"'), '"') => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '<' | '>' | '|' | '&' | ';' | '\n') => return None,
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.saturating_sub(1),
            (None, c) if c.is_whitespace() && depth == 0 => {
                words.push(String::new());
                continue;
            }
            (None, _) => {}
        }
        words.last_mut()?.push(c);
    }
    words.retain(|word| !word.is_empty());
    (quote.is_none() && !words.is_empty()).then_some(words)
}

/// Returns whether what follows a `$` can run a command: `$(…)` and bash's `${ …; }`, not `${name}`.
fn runs(c: char, rest: &std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    let mut rest = rest.clone();
    match (c, rest.next()) {
        ('$', Some('(')) => true,
        ('$', Some('{')) => rest.next().is_some_and(|c| c.is_whitespace() || c == '|'),
        _ => false,
    }
}

/// Returns whether a word is `name=…`, `name+=…` or `name[…]=…`.
fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else {
        return false;
    };
    let name = name.strip_suffix('+').unwrap_or(name);
    let name = name.split_once('[').map_or(name, |(name, _)| name);
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(command: &str, is_harmless: bool) {
        assert_eq!(is_declaration(command), is_harmless, "{command}");
    }

    #[test]
    fn settings_are_declarations() {
        check("_API=https://api.example/v1", true);
        check("_NAMES=(a 'b c' d)", true);
        check("_A=1 _B+=\"x y\"", true);
        check("_A[3]='$(date)'", true);
        check("_A=\"${HOME:-/root}\"", true);
        check("set -euo pipefail", true);
        check("readonly _A=1", true);
        check(": \"${ACME_TOKEN:?set it}\"", true);
    }

    #[test]
    fn what_runs_something_is_none() {
        check("_A=$(date)", false);
        check("_A=\"`date`\"", false);
        check("_A=\"$(date)\"", false);
        check("_A=${ date; }", false);
        check("readonly _A=$(date)", false);
        check("_A=1 date", false);
        check("date", false);
        check("curl -s https://example.org", false);
        check("exec 3< /etc/passwd", false);
        check("set -e > /tmp/x", false);
        check("> /tmp/x", false);
        check("export _A=<(date)", false);
        check("declare -i _x='_B[$(date)]'", false);
        check("typeset -ri _x=1", false);
        check("declare -n _x=_y", false);
        check("1a=b", false);
        check("", false);
    }
}
