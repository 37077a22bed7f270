//! What ssh's own words mean: the one table from its messages to `RemoteError`.

use std::io;

use model::{error::RemoteError, text::last_words};

/// What ssh says when the host key is not the pinned one.
const IMPOSTOR: [&str; 4] = [
    "REMOTE HOST IDENTIFICATION HAS CHANGED",
    "Host key verification failed",
    "host key is known for",
    "no matching host key type",
];

/// What ssh says when it cannot talk to what answers.
const NOT_SSH: [&str; 4] = [
    "banner line",
    "No SSH version received in first",
    "Protocol major versions differ",
    "Unable to negotiate",
];

/// What ssh says when the server, which has greeted by then, ends the connection.
const MUTE: [&str; 5] = [
    "kex_exchange_identification:",
    "ssh_dispatch_run_fatal:",
    "Connection closed by",
    "Connection reset by",
    "Connection timed out during banner exchange",
];

/// What ssh says when something on this machine is in the way.
const HERE: [&str; 4] = [
    "bad configuration option",
    "Bad owner or permissions",
    "UNPROTECTED PRIVATE KEY",
    "Can't open user config file",
];

/// What ssh says when there is no way to share the connection.
const NO_MULTIPLEXING: [&str; 4] = [
    "ControlPath",
    "ControlSocket",
    "muxserver_listen",
    "unix_listener",
];

/// Says what ended an attempt to connect.
pub(crate) fn of_connect(words: &str) -> RemoteError {
    let said = last_words(words);
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
    if says(&IMPOSTOR) {
        RemoteError::Impostor(shown_key(words).unwrap_or(said))
    } else if says(&HERE) {
        RemoteError::Here(format!("ssh does not start: {said}"))
    } else if says(&["Permission denied", "Too many authentication failures"]) {
        RemoteError::Refused(said)
    } else if says(&NOT_SSH) {
        RemoteError::NotSsh(said)
    } else if says(&MUTE) {
        let greeted = true;
        RemoteError::Mute { greeted, why: said }
    } else {
        RemoteError::Unreachable(said)
    }
}

/// Returns the fingerprint that ssh prints. Its advice is for people who keep `known_hosts` by hand: to remove what protects them.
fn shown_key(words: &str) -> Option<String> {
    let fingerprint = words
        .split_whitespace()
        .find(|word| word.starts_with("SHA256:"))?;
    Some(format!("it shows {}", fingerprint.trim_end_matches('.')))
}

/// Returns whether sharing the connection is what failed.
pub(crate) fn is_of_multiplexing(words: &str) -> bool {
    NO_MULTIPLEXING.iter().any(|phrase| words.contains(phrase))
}

/// Returns whether the server gave no further channel on a connection that works.
pub(crate) fn is_refused_channel(words: &str) -> bool {
    words.contains("Server refused the request")
}

/// Says that a program could not be started here.
pub(crate) fn of_start(program: &str, error: &io::Error) -> RemoteError {
    if error.kind() == io::ErrorKind::NotFound {
        RemoteError::Here(format!(
            "`{program}` is not installed on this machine; install the package that has it"
        ))
    } else {
        RemoteError::Here(format!("could not start `{program}`: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, expected: fn(String) -> RemoteError) {
        assert_eq!(of_connect(words), expected(words.to_owned()));
    }

    #[test]
    fn words_of_ssh_are_distinguished() {
        let mute = |why| RemoteError::Mute { greeted: true, why };
        check(
            "ssh: connect to host 127.0.0.1 port 1: Connection refused",
            RemoteError::Unreachable,
        );
        check(
            "kex_exchange_identification: Connection closed by remote host",
            mute,
        );
        check("Connection closed by 127.0.0.1 port 1", mute);
        check("Connection timed out during banner exchange", mute);
        check(
            "root@127.0.0.1: Permission denied (publickey).",
            RemoteError::Refused,
        );
        check(
            "No ED25519 host key is known for m1 and you have requested strict checking.",
            RemoteError::Impostor,
        );
        check("Host key verification failed.", RemoteError::Impostor);
        check(
            "kex_exchange_identification: banner line contains invalid characters",
            RemoteError::NotSsh,
        );
        check(
            "Unable to negotiate with 127.0.0.1 port 1: no matching cipher found. Their offer: x",
            RemoteError::NotSsh,
        );
        let advice = "@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nThe fingerprint for the ED25519 key sent by the remote \
                      host is\nSHA256:abc+/1.\nPlease contact your system administrator.\n  ssh-keygen -f '/x' -R '[h]:1'\n\
                      Host key verification failed.";
        assert_eq!(
            of_connect(advice),
            RemoteError::Impostor("it shows SHA256:abc+/1".to_owned())
        );
    }

    #[test]
    fn missing_program_is_named() {
        let error = of_start("ssh", &io::Error::from(io::ErrorKind::NotFound));
        assert!(error.to_string().contains("`ssh` is not installed"));
    }
}
