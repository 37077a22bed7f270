//! One mistake in `twolane.toml`: where, what, and what would be right. How it is drawn is the caller's business.

use std::ops::Range;

/// One mistake in `twolane.toml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The bytes of the file that are wrong.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
}

impl Mistake {
    /// Returns line and column of its beginning in `text`, both from 1, the column in characters.
    pub fn place(&self, text: &str) -> (usize, usize) {
        let before = text.get(..self.span.start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }
}

/// Returns the one of `names` that was probably meant, if one is near enough.
pub fn nearest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let far = given.chars().count().div_ceil(3).max(1);
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given, name), name))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Says which name was probably meant, or else all that there are.
pub(crate) fn suggest<'a>(given: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    match nearest(given, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("known here: {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_near() {
        let names = ["packages", "rust", "nix", "max-cost"];
        assert_eq!(nearest("package", names), Some("packages"));
        assert_eq!(nearest("max_cost", names), Some("max-cost"));
        assert_eq!(nearest("Rsut", names), Some("rust"));
        assert_eq!(nearest("firewall", names), None);
    }

    #[test]
    fn a_place_counts_lines_and_characters() {
        let mistake = |start| Mistake {
            span: start..start,
            message: String::new(),
            help: None,
        };
        assert_eq!(mistake(0).place("ä = 1\nb"), (1, 1));
        assert_eq!(mistake(3).place("ä = 1\nb"), (1, 3));
        assert_eq!(mistake(7).place("ä = 1\nb"), (2, 1));
        assert_eq!(mistake(99).place("a\nb"), (2, 2));
    }
}
