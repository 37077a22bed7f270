//! What of this process's environment the programs that it starts are given.

/// Returns whether a program that is started may have a variable. Tokens of clouds are for none of them.
pub fn is_for_children(name: &str) -> bool {
    const NAMES: [&str; 10] = [
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "SSH_AUTH_SOCK",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
        "XDG_RUNTIME_DIR",
    ];
    NAMES.contains(&name) || name.starts_with("LC_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_for_no_child() {
        for name in [
            "AWS_SECRET_ACCESS_KEY",
            "HCLOUD_TOKEN",
            "GITHUB_TOKEN",
            "SSH_PUBKEY",
            "RSYNC_RSH",
        ] {
            assert!(!is_for_children(name), "{name}");
        }
        for name in ["HOME", "PATH", "LC_ALL", "SSH_AUTH_SOCK"] {
            assert!(is_for_children(name), "{name}");
        }
    }
}
