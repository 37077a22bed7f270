//! Quoting for the two languages that openssh does not quote for us: a script that rsync hands to the box's
//! shell, and rsync's own `-e`.

/// Quotes one word for a POSIX shell.
pub(crate) fn for_shell(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Quotes one word for rsync's `-e`, which knows quotes but no backslashes.
pub(crate) fn for_rsync(word: &str) -> String {
    format!("'{}'", word.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_reads_back_what_was_quoted() {
        for word in ["", "a b", "it's", "$HOME", "`id`", "a\nb", "\\", "!", "-n", "''"] {
            let script = format!("printf %s {}", for_shell(word));
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
