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

/// Returns whether a program that fetches something may have a variable: those of all programs, and how to get out of here.
pub fn is_for_fetching(name: &str) -> bool {
    const NAMES: [&str; 3] = ["CURL_CA_BUNDLE", "SSL_CERT_DIR", "SSL_CERT_FILE"];
    const PROXIES: [&str; 4] = ["all_proxy", "http_proxy", "https_proxy", "no_proxy"];
    is_for_children(name) || NAMES.contains(&name) || PROXIES.contains(&name.to_ascii_lowercase().as_str())
}

/// Returns whether cargo, started here, may have a variable: those of all programs, what says where it and rustup keep their
/// things, and how to reach registries. Neither tokens, nor what would change what it compiles.
pub fn is_for_cargo(name: &str) -> bool {
    const NAMES: [&str; 6] = [
        "CARGO_HOME",
        "CARGO_REGISTRY_DEFAULT",
        "RUSTUP_DIST_SERVER",
        "RUSTUP_HOME",
        "RUSTUP_TOOLCHAIN",
        "RUSTUP_UPDATE_ROOT",
    ];
    let is_registry = |rest: &str| !rest.contains("TOKEN") && !rest.contains("SECRET");
    is_for_fetching(name)
        || NAMES.contains(&name)
        || name.starts_with("CARGO_HTTP_")
        || name.starts_with("CARGO_NET_")
        || name.strip_prefix("CARGO_REGISTRIES_").is_some_and(is_registry)
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

    #[test]
    fn cargo_gets_what_it_needs_and_no_token() {
        for name in [
            "PATH",
            "CARGO_HOME",
            "HTTPS_PROXY",
            "no_proxy",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_OWN_INDEX",
        ] {
            assert!(is_for_cargo(name), "{name}");
        }
        for name in [
            "HCLOUD_TOKEN",
            "CARGO_REGISTRY_TOKEN",
            "CARGO_REGISTRIES_OWN_TOKEN",
            "RUSTFLAGS",
            "CARGO_TARGET_DIR",
            "CARGO_MANIFEST_DIR",
        ] {
            assert!(!is_for_cargo(name), "{name}");
        }
    }
}
