//! The operator's own Rust toolchain: where it is, and a key that changes whenever it does.

use std::{env, fs, io, process::Command};

use camino::{Utf8Path, Utf8PathBuf};
use model::order::OperatorToolchain;
use sha2::{Digest, Sha256};

use crate::problem::{Problem, Result};

/// Programs that go along where they are found.
const PROGRAMS: [&str; 3] = ["cargo-nextest", "cargo-deny", "cargo-audit"];

/// Finds the toolchain that `rustc` in `dir` means.
pub(crate) fn find(dir: &Utf8Path) -> Result<OperatorToolchain> {
    let sysroot = Utf8PathBuf::from(rustc("rustc", dir, &["--print", "sysroot"])?);
    // Not the one in PATH: rustup's stand-in takes a while to find the real one again.
    let version = rustc(sysroot.join("bin/rustc").as_str(), dir, &["-vV"])?;
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

fn rustc(program: &str, dir: &Utf8Path, arguments: &[&str]) -> Result<String> {
    let problem = || Problem::usage("could not find this machine's Rust toolchain").help(OTHERWISE);
    let output = Command::new(program)
        .args(arguments)
        .current_dir(dir)
        .output()
        .map_err(|error| problem().because(format!("{program}: {error}")))?;
    if !output.status.success() {
        return Err(problem().because(String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
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

fn in_path(name: &str) -> Option<Utf8PathBuf> {
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
