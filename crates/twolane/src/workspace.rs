//! A look at a Rust workspace, without running anything.

use std::{collections::BTreeSet, fs};

use camino::{Utf8Path, Utf8PathBuf};
use model::config::Found;
use toml::Table;

use crate::toolchain;

/// Most source files that are looked through for `/dev/kvm`.
const FILES_MAX: usize = 5_000;

/// Finds the root of the workspace that `dir` belongs to: the nearest `Cargo.toml` with a workspace, else the nearest one.
pub(crate) fn root(dir: &Utf8Path) -> Option<Utf8PathBuf> {
    let with_cargo: Vec<&Utf8Path> = dir
        .ancestors()
        .filter(|dir| dir.join("Cargo.toml").is_file())
        .collect();
    with_cargo
        .iter()
        .find(|dir| manifest(dir).is_some_and(|manifest| manifest.contains_key("workspace")))
        .or(with_cargo.first())
        .map(|dir| dir.to_path_buf())
}

/// Looks at the workspace in `dir`.
pub(crate) fn look(dir: &Utf8Path) -> Found {
    let members = members(dir);
    Found {
        name: dir.file_name().unwrap_or("project").to_owned(),
        members: members.iter().filter_map(|dir| package_name(dir)).collect(),
        channel: channel(dir),
        has_rustc: toolchain::is_there(),
        needs_openssl: fs::read_to_string(dir.join("Cargo.lock"))
            .is_ok_and(|lock| lock.contains("name = \"openssl-sys\"")),
        needs_kvm: opens_kvm(&members),
    }
}

fn manifest(dir: &Utf8Path) -> Option<Table> {
    fs::read_to_string(dir.join("Cargo.toml")).ok()?.parse().ok()
}

fn package_name(dir: &Utf8Path) -> Option<String> {
    Some(manifest(dir)?.get("package")?.get("name")?.as_str()?.to_owned())
}

/// Returns the directories of the members; a package without a workspace is its own only member.
fn members(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let patterns = manifest(dir)
        .and_then(|manifest| manifest.get("workspace")?.get("members")?.as_array().cloned())
        .unwrap_or_default();
    let mut dirs: BTreeSet<Utf8PathBuf> = patterns
        .iter()
        .filter_map(|pattern| pattern.as_str())
        .flat_map(|pattern| matching(dir, pattern))
        .collect();
    dirs.insert(dir.to_owned());
    dirs.into_iter().collect()
}

/// Returns the directories that a pattern such as `crates/*` means; `*` as a whole part is the only wildcard in use.
fn matching(dir: &Utf8Path, pattern: &str) -> Vec<Utf8PathBuf> {
    let mut dirs = vec![dir.to_owned()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        dirs = dirs
            .iter()
            .flat_map(|dir| match part {
                "*" | "**" => subdirs(dir),
                part => vec![dir.join(part)],
            })
            .collect();
    }
    dirs.retain(|dir| dir.join("Cargo.toml").is_file());
    dirs
}

fn subdirs(dir: &Utf8Path) -> Vec<Utf8PathBuf> {
    let Ok(entries) = dir.read_dir_utf8() else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter(|entry| entry.file_name() != "target" && !entry.file_name().starts_with('.'))
        .map(|entry| entry.path().to_owned())
        .collect()
}

fn channel(dir: &Utf8Path) -> Option<String> {
    if let Ok(text) = fs::read_to_string(dir.join("rust-toolchain.toml")) {
        let table: Table = text.parse().ok()?;
        return Some(table.get("toolchain")?.get("channel")?.as_str()?.to_owned());
    }
    let text = fs::read_to_string(dir.join("rust-toolchain")).ok()?;
    let line = text.trim();
    (!line.contains('\n') && !line.is_empty()).then(|| line.to_owned())
}

fn opens_kvm(members: &[Utf8PathBuf]) -> bool {
    let mut left = FILES_MAX;
    members
        .iter()
        .flat_map(|dir| ["src", "tests"].map(|part| dir.join(part)))
        .any(|dir| mentions_kvm(&dir, &mut left))
}

fn mentions_kvm(dir: &Utf8Path, left: &mut usize) -> bool {
    let Ok(entries) = dir.read_dir_utf8() else {
        return false;
    };
    for entry in entries.filter_map(Result::ok) {
        if *left == 0 {
            return false;
        }
        *left -= 1;
        let Ok(kind) = entry.file_type() else {
            continue;
        };
        let is_found = if kind.is_dir() {
            mentions_kvm(entry.path(), left)
        } else {
            entry.path().extension() == Some("rs")
                && fs::read(entry.path()).is_ok_and(|text| text.windows(8).any(|word| word == b"/dev/kvm"))
        };
        if is_found {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Utf8Path, path: &str, text: &str) {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_workspace_is_found_from_below_with_its_members() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        write(
            dir,
            "Cargo.toml",
            "[workspace]\nmembers = [\"crates/*\", \"tool\"]\n",
        );
        write(dir, "crates/a/Cargo.toml", "[package]\nname = \"aa\"\n");
        write(dir, "crates/a/tests/live.rs", "open(\"/dev/kvm\")");
        write(dir, "tool/Cargo.toml", "[package]\nname = \"tool\"\n");
        write(dir, "rust-toolchain.toml", "[toolchain]\nchannel = \"1.90.0\"\n");
        assert_eq!(root(&dir.join("crates/a/tests")).as_deref(), Some(dir));
        let found = look(dir);
        assert_eq!(found.members, ["aa", "tool"]);
        assert_eq!(found.channel.as_deref(), Some("1.90.0"));
        assert!(found.needs_kvm && !found.needs_openssl);
    }

    #[test]
    fn a_single_package_is_its_own_workspace() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        write(dir, "Cargo.toml", "[package]\nname = \"one\"\n");
        write(dir, "src/lib.rs", "");
        assert_eq!(root(&dir.join("src")).as_deref(), Some(dir));
        assert_eq!(look(dir).members, ["one"]);
        assert!(!look(dir).needs_kvm);
    }
}
