//! What of a box's user-data cannot be sent.

use std::collections::BTreeMap;

use super::stage1::{Stage1, Toolchain};

/// Says what cannot be sent. Values are quoted wherever they go; but the box's script splits lists at blanks,
/// and a word that starts with `-` is an option to whatever gets it.
pub(super) fn mistakes(stage1: &Stage1) -> Vec<String> {
    let system = &stage1.system;
    let mut words = vec![("label", stage1.hostname.as_str())];
    words.extend(system.packages.iter().map(|it| ("package", it.as_str())));
    words.extend(system.users.iter().map(|it| ("user", it.name.as_str())));
    words.extend(
        system
            .cargo_tools
            .iter()
            .flat_map(|it| [("cargo tool", it.name.as_str()), ("version", &it.version)]),
    );
    words.extend(system.directories.iter().flat_map(|it| {
        [
            ("owner", it.owner.as_str()),
            ("group", &it.group),
            ("mode", &it.mode),
        ]
    }));
    match &system.toolchain {
        None | Some(Toolchain::Apt) => {}
        Some(Toolchain::Operator { key }) => words.push(("toolchain", key)),
        Some(Toolchain::Rustup {
            channel,
            components,
            targets,
            ..
        }) => {
            words.push(("toolchain", channel));
            words.extend(targets.iter().map(|it| ("target", it.as_str())));
            words.extend(components.iter().map(|it| ("component", it.as_str())));
        }
    }
    let rustup = match &system.toolchain {
        Some(Toolchain::Rustup { rustup, .. }) => Some(rustup),
        _ => None,
    };
    let downloads = [
        ("rustup", rustup),
        ("nix", system.nix.as_ref()),
        ("firecracker", system.firecracker.as_ref()),
    ];
    let mut found = Vec::new();
    for (name, pinned) in downloads
        .into_iter()
        .filter_map(|(name, pinned)| Some((name, pinned?)))
    {
        words.push(("version", &pinned.version));
        found.extend(checksum_mistakes(name, &pinned.sha256));
    }
    for (tool, archive) in system
        .cargo_tools
        .iter()
        .filter_map(|it| Some((it, it.archive.as_ref()?)))
    {
        found.extend(checksum_mistakes(&tool.name, &archive.sha256));
        found.extend((!is_url(&archive.url)).then(|| format!("`{}` is not an http(s) address", archive.url)));
    }
    found.extend(
        words
            .iter()
            .filter(|(_, word)| !is_word(word))
            .map(|(what, word)| {
                format!("{what} `{word}` has other characters than letters, digits and `._+-@`")
            }),
    );
    found.extend(
        system
            .directories
            .iter()
            .filter(|it| !is_absolute(&it.path))
            .map(|it| {
                format!(
                    "directory `{}` is not an absolute path of plain characters",
                    it.path
                )
            }),
    );
    found.extend(
        system
            .mirror
            .iter()
            .filter(|it| !is_url(it))
            .map(|it| format!("mirror `{it}` is not an http(s) address")),
    );
    found.extend(key_mistakes(stage1));
    found
}

fn key_mistakes(stage1: &Stage1) -> Vec<String> {
    let lines = stage1.authorized_keys.iter().map(|it| ("authorized key", it));
    let mut found: Vec<_> = lines
        .chain([("host key", &stage1.host_key.public)])
        .filter(|(_, key)| key.trim().is_empty() || key.trim_end().contains(['\n', '\r', '\0']))
        .map(|(what, _)| format!("the {what} is not one line"))
        .collect();
    if stage1.authorized_keys.is_empty() {
        found.push("no key may log in".to_owned());
    }
    found
}

fn checksum_mistakes(name: &str, sha256: &BTreeMap<String, String>) -> Vec<String> {
    let is_hex = |sha: &str| sha.len() == 64 && sha.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let known = ["x86_64", "aarch64"];
    let mut found: Vec<_> = sha256
        .iter()
        .filter(|(arch, sha)| !known.contains(&arch.as_str()) || !is_hex(sha))
        .map(|(arch, _)| format!("sha256.{arch} of {name} is not 64 hexadecimal digits of x86_64 or aarch64"))
        .collect();
    if sha256.is_empty() {
        found.push(format!("{name} has no sha256: what is downloaded must be pinned"));
    }
    found
}

fn is_word(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-@".contains(c);
    !word.is_empty() && !word.starts_with('-') && word.chars().all(plain)
}

fn is_absolute(path: &str) -> bool {
    path.starts_with('/') && path.split('/').skip(1).all(|part| is_word(part) && part != "..")
}

fn is_url(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    rest.is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic()))
}
