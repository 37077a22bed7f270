//! Values as words of a shell.

/// Returns `value` as one word of a POSIX shell, whatever is in it.
pub fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_value_is_one_word() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("$(x) `y` \\"), "'$(x) `y` \\'");
        assert_eq!(quote("it's"), r"'it'\''s'");
        assert_eq!(quote(""), "''");
    }
}
