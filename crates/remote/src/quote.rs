//! Quoting for rsync, whose `-e` is no shell.

/// Quotes one word for rsync's `-e`, which knows quotes but no backslashes.
pub(crate) fn for_rsync(word: &str) -> String {
    format!("'{}'", word.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use model::render::quote;

    use super::*;

    #[test]
    fn shell_reads_back_what_was_quoted() {
        for word in ["", "a b", "it's", "$HOME", "`id`", "a\nb", "\\", "!", "-n", "''"] {
            let script = format!("printf %s {}", quote(word));
            let output = std::process::Command::new("sh")
                .args(["-c", &script])
                .output()
                .unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }

    #[test]
    fn rsync_quotes_are_doubled() {
        assert_eq!(for_rsync("it's here"), "'it''s here'");
    }
}
