//! A look at a Rust workspace, without running anything.

mod nextest;
mod packages;
mod sources;

use std::{collections::BTreeSet, fs};

use camino::{Utf8Path, Utf8PathBuf};
use model::{
    config::{Found, Rust},
    plan::Plan,
    render::post_deploy::{is_built_in, named},
};
use toml::Table;

use crate::toolchain;

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
    let toolchain = toolchain_file(dir);
    let sources = sources::look(dir, &members);
    let mut packages = packages::of_lock(dir);
    packages.extend(packages::of_links(&sources.links));
    packages.extend(packages::of_targets(&toolchain.targets));
    packages.extend(packages::of_cargo(dir));
    let live = sources.live.iter().filter_map(|dir| package_name(dir)).collect();
    Found {
        name: dir.file_name().unwrap_or("project").to_owned(),
        members: members.iter().filter_map(|dir| package_name(dir)).collect(),
        has_rustc: has_toolchain(dir, &toolchain),
        channel: toolchain.channel,
        components: toolchain.components,
        targets: toolchain.targets,
        packages: packages.into_iter().map(str::to_owned).collect(),
        needs_kvm: sources.mentions_kvm,
        live,
        nextest: nextest::look(dir),
        // Its integration tests need images that its own scripts download.
        selection: dir
            .join("cloud-hypervisor/tests/integration.rs")
            .is_file()
            .then(|| "--workspace --lib --bins".to_owned()),
        // Its unit tests make network devices.
        needs_root: dir.join("src/firecracker").is_dir() && dir.join("tools/devtool").is_file(),
        gates: sources.gates.into_iter().collect(),
        notes: notes(dir),
        has_mvmd: dir.file_name() == Some("mvmd") || dir.join("../mvmd/Cargo.toml").is_file(),
    }
}

/// Returns the variables that may gate tests of the workspace in `dir`, each with the file that reads it.
pub(crate) fn gates(dir: &Utf8Path) -> Vec<(String, String)> {
    sources::look(dir, &members(dir)).gates.into_iter().collect()
}

/// Returns what of `[deploy]` none of the sources has, where a lane deploys.
pub(crate) fn lacking(plan: &Plan) -> Vec<String> {
    if !plan.lanes.iter().any(|lane| lane.has_deploy) {
        return Vec::new();
    }
    let members = plan.sources.iter().flat_map(|source| members(&source.path));
    let packages: BTreeSet<String> = members.filter_map(|dir| package_name(&dir)).collect();
    let is_there = |path: &str| {
        let mut sources = plan.sources.iter();
        is_built_in(path) || sources.any(|source| source.path.join(path).is_file())
    };
    let deploy = &plan.deploy;
    let files = named(deploy);
    let missing = deploy
        .binaries
        .iter()
        .filter(|binary| !packages.contains(&binary.package));
    missing
        .map(|binary| format!("no source has the package {}", binary.package))
        .chain(
            files
                .filter(|path| !is_there(path))
                .map(|path| format!("no source has {path}")),
        )
        .collect()
}

/// Returns whether this machine's own toolchain is the one that the workspace asks for.
fn has_toolchain(dir: &Utf8Path, wanted: &ToolchainFile) -> bool {
    let channel = wanted.channel.as_deref().unwrap_or("stable");
    if !toolchain::is_there() {
        return false;
    }
    if !toolchain::is_pinned(channel) && wanted.targets.is_empty() {
        return true;
    }
    let rust = Rust {
        toolchain: channel.to_owned(),
        targets: wanted.targets.clone(),
        ..Rust::any()
    };
    toolchain::find(dir, &rust).is_ok()
}

/// Returns what is missing or odd in the workspace.
fn notes(dir: &Utf8Path) -> Vec<String> {
    let text = fs::read_to_string(dir.join(".gitmodules")).unwrap_or_default();
    let paths = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("path = "));
    let is_empty = |path: &&str| {
        let mut entries = dir.join(path).read_dir_utf8().into_iter().flatten();
        entries.next().is_none()
    };
    paths
        .filter(is_empty)
        .map(|path| {
            format!("The submodule {path} is not checked out, and will not be on the box: git submodule update --init")
        })
        .collect()
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

/// What `rust-toolchain.toml` says.
#[derive(Debug, Default)]
struct ToolchainFile {
    channel: Option<String>,
    components: Vec<String>,
    targets: Vec<String>,
}

fn toolchain_file(dir: &Utf8Path) -> ToolchainFile {
    let read = |name| fs::read_to_string(dir.join(name));
    let Ok(text) = read("rust-toolchain.toml").or_else(|_| read("rust-toolchain")) else {
        return ToolchainFile::default();
    };
    let Ok(table) = text.parse::<Table>() else {
        // The old form is the channel alone.
        let line = text.trim();
        return ToolchainFile {
            channel: (!line.contains('\n') && !line.is_empty()).then(|| line.to_owned()),
            ..ToolchainFile::default()
        };
    };
    let toolchain = table.get("toolchain").and_then(toml::Value::as_table);
    let list = |key: &str, usual: &[&str]| -> Vec<String> {
        let values = toolchain.and_then(|table| table.get(key)?.as_array());
        let words = values.into_iter().flatten().filter_map(|value| value.as_str());
        words
            .filter(|word| !usual.contains(word))
            .map(str::to_owned)
            .collect()
    };
    ToolchainFile {
        channel: toolchain
            .and_then(|table| table.get("channel")?.as_str())
            .map(str::to_owned),
        components: list("components", &["clippy", "rustfmt"]),
        targets: list("targets", &[]),
    }
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
        write(
            dir,
            "crates/a/tests/live.rs",
            "#[test]\nfn boots() { File::open(\"/dev/kvm\") }",
        );
        write(dir, "tool/Cargo.toml", "[package]\nname = \"tool\"\n");
        write(dir, "rust-toolchain.toml", "[toolchain]\nchannel = \"1.90.0\"\n");
        assert_eq!(root(&dir.join("crates/a/tests")).as_deref(), Some(dir));
        let found = look(dir);
        assert_eq!(found.members, ["aa", "tool"]);
        assert_eq!(found.channel.as_deref(), Some("1.90.0"));
        assert!(found.needs_kvm && found.packages.is_empty());
        assert_eq!(found.live, ["aa"]);
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

    #[test]
    fn a_vmm_project_is_seen_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        write(dir, "Cargo.toml", "[workspace]\nmembers = [\"vmm\", \"ci\"]\n");
        write(
            dir,
            "Cargo.lock",
            "[[package]]\nname = \"openssl-sys\"\n\n[[package]]\nname = \"bindgen\"\n",
        );
        write(dir, "vmm/Cargo.toml", "[package]\nname = \"vmm\"\n");
        write(dir, "vmm/src/lib.rs", "#[link(name = \"seccomp\")]\nextern {}\n");
        write(
            dir,
            "vmm/src/cpu.rs",
            "fn new() { Kvm::new() }\n#[cfg(test)]\nmod tests {\n#[test]\nfn runs() { Kvm::new().unwrap(); }\n}\n",
        );
        write(
            dir,
            "vmm/tests/live.rs",
            "const GATE: &str = \"VMM_LIVE\";\n#[test]\nfn a() { std::env::var(GATE); }",
        );
        write(dir, "ci/Cargo.toml", "[package]\nname = \"ci\"\n");
        write(dir, "ci/src/lib.rs", "/// Kvm::new()\nfn a() { Kvm::new() }\n");
        write(
            dir,
            "rust-toolchain.toml",
            "[toolchain]\nchannel = \"1.2.3\"\ncomponents = [\"clippy\", \"rust-src\"]\ntargets = [\"x86_64-unknown-linux-musl\"]\n",
        );
        write(
            dir,
            ".config/nextest.toml",
            "[profile.default]\nretries = 1\n[profile.ci.junit]\npath = \"junit.xml\"\n",
        );
        write(dir, ".gitmodules", "[submodule \"x\"]\n\tpath = rust-vmm-ci\n");
        let found = look(dir);
        assert_eq!(
            found.packages,
            [
                "clang",
                "libclang-dev",
                "libseccomp-dev",
                "libssl-dev",
                "musl-tools"
            ]
        );
        assert_eq!(
            (found.components, found.targets),
            (
                vec!["rust-src".to_owned()],
                vec!["x86_64-unknown-linux-musl".to_owned()]
            )
        );
        assert_eq!(found.live, ["vmm"]);
        assert_eq!(
            found.gates,
            [("VMM_LIVE".to_owned(), "vmm/tests/live.rs".to_owned())]
        );
        assert!(!found.has_rustc, "nobody has Rust 1.2.3");
        let nextest = found.nextest.unwrap();
        assert_eq!(
            (nextest.profile.as_deref(), nextest.junit.as_deref()),
            (Some("ci"), Some("target/nextest/ci/junit.xml"))
        );
        assert!(
            found.notes[0].contains("rust-vmm-ci is not checked out"),
            "{:?}",
            found.notes
        );
    }
}
