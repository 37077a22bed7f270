//! Takes secrets out of what people read. Some APIs repeat a part of the token in their messages.

/// The shortest piece of a secret that is taken out.
const PIECE: usize = 8;

/// Returns `text` without any piece of a secret that is at least eight characters long.
pub fn redact(text: &str, secrets: &[String]) -> String {
    let secrets: Vec<_> = secrets.iter().filter(|secret| !secret.is_empty()).collect();
    let is_secret = |piece: &str| secrets.iter().any(|secret| secret.contains(piece));
    let starts: Vec<_> = text
        .char_indices()
        .map(|(at, _)| at)
        .chain([text.len()])
        .collect();
    let mut clean = String::new();
    let mut at = 0;
    while at + 1 < starts.len() {
        let end_of = |length: usize| starts.get(at + length).copied();
        let shortest = secrets
            .iter()
            .map(|secret| secret.chars().count())
            .min()
            .unwrap_or(PIECE)
            .min(PIECE);
        let mut length = shortest;
        if !end_of(length).is_some_and(|end| is_secret(&text[starts[at]..end])) {
            clean.push_str(&text[starts[at]..starts[at + 1]]);
            at += 1;
            continue;
        }
        while end_of(length + 1).is_some_and(|end| is_secret(&text[starts[at]..end])) {
            length += 1;
        }
        clean.push_str("[secret]");
        at += length;
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, clean: &str) {
        assert_eq!(
            redact(text, &["abcdefghijklmnopqrstuvwxyz012345".to_owned()]),
            clean
        );
    }

    #[test]
    fn the_whole_secret_goes() {
        check(
            "limit of abcdefghijklmnopqrstuvwxyz012345 reached",
            "limit of [secret] reached",
        );
    }

    #[test]
    fn a_piece_of_it_goes() {
        check(
            "token abcdefghijklmnop reached its limit",
            "token [secret] reached its limit",
        );
        check("…uvwxyz012345", "…[secret]");
    }

    #[test]
    fn words_that_it_happens_to_hold_stay() {
        check(
            "abcdefg is too short to be distinguished: größer",
            "abcdefg is too short to be distinguished: größer",
        );
        assert_eq!(redact("nothing is secret", &[String::new()]), "nothing is secret");
    }

    #[test]
    fn a_short_secret_goes_as_a_whole() {
        assert_eq!(
            redact("it is hunter2!", &["hunter2".to_owned()]),
            "it is [secret]!"
        );
    }
}
