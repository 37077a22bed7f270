//! The operator's own Rust toolchain: where it is, and a key that changes whenever it does.

use std::{env, fs, io, process::Command};

use camino::{Utf8Path, Utf8PathBuf};
use model::{config::Rust, order::OperatorToolchain};
use sha2::{Digest, Sha256};

use crate::problem::{Problem, Result};

/// Programs that go along where they are found.
const PROGRAMS: [&str; 3] = ["cargo-nextest", "cargo-deny", "cargo-audit"];

/// Finds the toolchain that `rustc` in `dir` means, or the one of that version where a project is particular.
pub(crate) fn find(dir: &Utf8Path, wanted: &Rust) -> Result<OperatorToolchain> {
    let channel = is_pinned(&wanted.toolchain).then_some(&*wanted.toolchain);
    let sysroot = Utf8PathBuf::from(rustc("rustc", dir, channel, &["--print", "sysroot"])?);
    // Not the one in PATH: rustup's stand-in takes a while to find the real one again.
    let version = rustc(sysroot.join("bin/rustc").as_str(), dir, channel, &["-vV"])?;
    if let Some(channel) = channel.filter(|channel| !is_of(&version, channel)) {
        let release = version.lines().next().unwrap_or_default();
        return Err(Problem::usage("could not find this machine's Rust toolchain")
            .because(format!("this machine has {release}, not {channel}"))
            .help(format!("rustup toolchain install {channel} gets it here")));
    }
    let has_target = |target: &&String| sysroot.join("lib/rustlib").join(target).is_dir();
    if let Some(target) = wanted.targets.iter().find(|target| !has_target(target)) {
        return Err(Problem::usage("could not use this machine's Rust toolchain")
            .because(format!("it has no standard library for {target}"))
            .help(format!("rustup target add {target} gets it here")));
    }
    let programs: Vec<Utf8PathBuf> = PROGRAMS.iter().filter_map(|name| in_path(name)).collect();
    let key = key(&version, &sysroot, &programs).map_err(|error| {
        Problem::usage("could not read this machine's Rust toolchain")
            .because(format!("{sysroot}: {error}"))
            .help(OTHERWISE)
    })?;
    Ok(OperatorToolchain {
        key,
        sysroot,
        programs,
    })
}

/// Adds programs that were fetched for the boxes. The key changes with them: a template of before lacks them.
pub(crate) fn with_programs(mut found: OperatorToolchain, programs: Vec<Utf8PathBuf>) -> OperatorToolchain {
    if programs.is_empty() {
        return found;
    }
    let mut hash = Sha256::new();
    hash.update(&found.key);
    for program in programs {
        // Its directory names its version.
        hash.update("\n");
        hash.update(program.as_str());
        found.programs.push(program);
    }
    found.key = hex::encode(&hash.finalize()[..8]);
    found
}

/// Returns whether a channel means one version, or more than what every machine has.
pub(crate) fn is_pinned(channel: &str) -> bool {
    channel != "stable"
}

/// Returns whether what `rustc -vV` printed is of a channel such as `1.90`, `nightly` or `nightly-2026-01-31`. The day that
/// a nightly is called after is the one after its commit's.
fn is_of(version: &str, channel: &str) -> bool {
    let field = |name| {
        version
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_default()
    };
    let release = field("release: ");
    match channel.split_once('-') {
        // rustup was asked for that very day.
        Some((name, _)) => release.contains(name),
        None if channel.starts_with(|c: char| c.is_ascii_digit()) => {
            release == channel
                || release
                    .strip_prefix(channel)
                    .is_some_and(|rest| rest.starts_with('.'))
        }
        None => release.contains(channel),
    }
}

/// Stands for a toolchain that is there and that nobody looked at.
pub(crate) fn unseen() -> OperatorToolchain {
    OperatorToolchain {
        key: String::new(),
        sysroot: Utf8PathBuf::new(),
        programs: Vec::new(),
    }
}

/// Returns whether this machine has a Rust toolchain.
pub(crate) fn is_there() -> bool {
    in_path("rustc").is_some()
}

const OTHERWISE: &str =
    "install a Rust toolchain here, or take it from elsewhere: rust = { from = \"apt\" } in [system]";

fn rustc(program: &str, dir: &Utf8Path, channel: Option<&str>, arguments: &[&str]) -> Result<String> {
    let problem = || Problem::usage("could not find this machine's Rust toolchain").help(OTHERWISE);
    let mut command = Command::new(program);
    // A look installs nothing, and prints no stack.
    command
        .args(arguments)
        .current_dir(dir)
        .env("RUSTUP_AUTO_INSTALL", "0")
        .env("RUST_BACKTRACE", "0");
    if let Some(channel) = channel {
        command.env("RUSTUP_TOOLCHAIN", channel);
    }
    let output = command
        .output()
        .map_err(|error| problem().because(format!("{program}: {error}")))?;
    if !output.status.success() {
        let lines = String::from_utf8_lossy(&output.stderr);
        let why = first_words(&lines);
        return Err(match channel {
            Some(channel) => problem()
                .because(why)
                .help(format!("rustup toolchain install {channel} gets it here")),
            None => problem().because(why),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Returns the line that says what went wrong.
fn first_words(stderr: &str) -> &str {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let said = lines().find_map(|line| line.strip_prefix("error: "));
    said.or_else(|| lines().next())
        .unwrap_or("rustc failed and said nothing")
}

/// Hashes the compiler's version and the name and size of every program and library. Reading their bytes would take
/// seconds, and a toolchain is replaced by another version.
fn key(version: &str, sysroot: &Utf8Path, programs: &[Utf8PathBuf]) -> io::Result<String> {
    let mut facts = Vec::new();
    for part in ["bin", "lib", "lib/rustlib"] {
        for entry in sysroot.join(part).read_dir_utf8()? {
            let entry = entry?;
            let size = match fs::metadata(entry.path())? {
                file if file.is_file() => file.len(),
                _ => 0,
            };
            facts.push(format!("{part}/{} {size}", entry.file_name()));
        }
    }
    for program in programs {
        let name = program.file_name().unwrap_or_default();
        facts.push(format!("{name} {}", fs::metadata(program)?.len()));
    }
    facts.sort();
    let mut hash = Sha256::new();
    hash.update(version);
    for fact in facts {
        hash.update("\n");
        hash.update(fact);
    }
    Ok(hex::encode(&hash.finalize()[..8]))
}

/// Returns where a program is.
pub(crate) fn in_path(name: &str) -> Option<Utf8PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .filter_map(|dir| Utf8PathBuf::from_path_buf(dir).ok())
        .map(|dir| dir.join(name))
        .find(|path| is_executable(path))
}

fn is_executable(path: &Utf8Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_serves_a_channel_that_means_it() {
        let of = |release: &str, channel| is_of(&format!("rustc x\nrelease: {release}\nhost: y"), channel);
        assert!(of("1.95.0", "1.95.0") && of("1.95.0", "1.95") && !of("1.95.0", "1.9"));
        assert!(of("1.97.0-nightly", "nightly") && of("1.97.0-nightly", "nightly-2026-05-01"));
        assert!(!of("1.95.0", "nightly") && !of("1.95.0", "beta"));
    }

    #[test]
    fn what_rustup_prints_is_cut_to_what_went_wrong() {
        let printed =
            "info: syncing\nerror: toolchain '1.97.0' is not installed\nhelp: run it\n  0: backtrace\n";
        assert_eq!(first_words(printed), "toolchain '1.97.0' is not installed");
        assert_eq!(first_words("\n"), "rustc failed and said nothing");
    }

    #[test]
    fn fetched_programs_come_along_and_change_the_key() {
        let bare = with_programs(unseen(), Vec::new());
        assert_eq!((&*bare.key, bare.programs.len()), ("", 0));
        let of = |version: &str| with_programs(unseen(), vec![format!("/c/{version}/cargo-deny").into()]);
        assert_eq!(of("1").programs, ["/c/1/cargo-deny"]);
        assert_ne!(of("1").key, bare.key);
        assert_ne!(of("1").key, of("2").key);
    }

    #[test]
    fn the_key_changes_with_the_version_and_with_any_size() {
        let temp = tempfile::tempdir().unwrap();
        let sysroot = Utf8Path::from_path(temp.path()).unwrap();
        fs::create_dir_all(sysroot.join("bin")).unwrap();
        fs::create_dir_all(sysroot.join("lib/rustlib/x")).unwrap();
        fs::write(sysroot.join("bin/rustc"), "1").unwrap();
        let first = key("1.90", sysroot, &[]).unwrap();
        assert_eq!(key("1.90", sysroot, &[]).unwrap(), first);
        assert_ne!(key("1.91", sysroot, &[]).unwrap(), first);
        fs::write(sysroot.join("bin/rustc"), "12").unwrap();
        assert_ne!(key("1.90", sysroot, &[]).unwrap(), first);
    }
}
