//! The workspace that is compiled, as `cargo metadata` and its files describe it.

use std::{env, fs};

use camino::{Utf8Path, Utf8PathBuf};
use model::world::Progress;
use serde_json::Value;

use super::cargo::Cargo;

/// The workspace that is compiled.
pub(super) struct Workspace {
    pub(super) root: Utf8PathBuf,
    /// The names of its packages.
    pub(super) members: Vec<String>,
    /// Whether any of its sources could hold one.
    pub(super) may_have_doc_tests: bool,
    targets: Vec<Target>,
}

/// One thing that cargo makes of a package.
pub(super) struct Target {
    pub(super) package: Package,
    id: String,
    kinds: Vec<String>,
    name: String,
    /// Its root file, relative to the package.
    pub(super) source: Utf8PathBuf,
}

#[derive(Clone)]
pub(super) struct Package {
    pub(super) name: String,
    pub(super) directory: Utf8PathBuf,
    /// The variables that cargo sets for its programs.
    pub(super) environment: Vec<(String, String)>,
}

impl Workspace {
    /// Reads the workspace in cargo's directory; or says why its tests cannot be compiled apart from it.
    pub(super) async fn read(cargo: &Cargo, progress: &dyn Progress) -> Result<Self, String> {
        let arguments = ["metadata", "--no-deps", "--format-version", "1", "--quiet"];
        let printed = cargo.run("cargo", &arguments, progress).await?.stdout()?;
        let metadata: Value = serde_json::from_str(&printed)
            .map_err(|error| format!("could not read cargo metadata: {error}"))?;
        let workspace = Self::of(&metadata);
        if workspace.root != cargo.dir {
            return Err(format!(
                "the workspace is {}, and not the source {} itself",
                workspace.root, cargo.dir
            ));
        }
        Ok(workspace)
    }

    fn of(metadata: &Value) -> Self {
        let packages: Vec<&Value> = metadata["packages"].as_array().into_iter().flatten().collect();
        let sources = |package: &Value| manifest_of(package).parent().map(Utf8Path::to_owned);
        Self {
            root: text(&metadata["workspace_root"]).into(),
            members: packages
                .iter()
                .map(|package| text(&package["name"]).to_owned())
                .collect(),
            may_have_doc_tests: packages
                .iter()
                .filter(|package| has_documented_library(package))
                .filter_map(|package| sources(package))
                .any(|dir| mentions_code(&dir)),
            targets: packages.iter().flat_map(|package| targets(package)).collect(),
        }
    }

    /// Returns what a program was made of.
    pub(super) fn target(&self, package: &str, kind: &str, name: &str) -> Option<&Target> {
        // A library may be called after what it is made into, such as `rlib`.
        let is_kind = |target: &Target| {
            target
                .kinds
                .iter()
                .any(|own| own == kind || kind == "lib" && (own.ends_with("lib")))
        };
        let is_named = |target: &Target| target.name == name || target.name.replace('-', "_") == name;
        self.targets
            .iter()
            .find(|target| target.id == package && is_kind(target) && is_named(target))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn manifest_of(package: &Value) -> Utf8PathBuf {
    text(&package["manifest_path"]).into()
}

fn targets(package: &Value) -> Vec<Target> {
    let manifest = manifest_of(package);
    let directory = manifest.parent().unwrap_or(&manifest).to_owned();
    let of = Package {
        name: text(&package["name"]).to_owned(),
        environment: environment(package, &manifest, &directory),
        directory,
    };
    let targets = package["targets"].as_array().into_iter().flatten();
    targets
        .map(|target| {
            let source = Utf8Path::new(text(&target["src_path"]));
            Target {
                package: of.clone(),
                id: text(&package["id"]).to_owned(),
                kinds: target["kind"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(|kind| text(kind).to_owned())
                    .collect(),
                name: text(&target["name"]).to_owned(),
                source: source.strip_prefix(&of.directory).unwrap_or(source).to_owned(),
            }
        })
        .collect()
}

/// Returns what cargo sets for the programs of a package, beside what it sets for all.
fn environment(package: &Value, manifest: &Utf8Path, directory: &Utf8Path) -> Vec<(String, String)> {
    let version = text(&package["version"]);
    let (numbers, pre) = version
        .split('+')
        .next()
        .unwrap_or(version)
        .split_once('-')
        .unwrap_or((version, ""));
    let mut numbers = numbers.split(['.', '+']);
    let mut number = || numbers.next().unwrap_or_default().to_owned();
    let authors = package["authors"].as_array().into_iter().flatten().map(text);
    let mut all = vec![
        ("CARGO_MANIFEST_DIR", directory.to_string()),
        ("CARGO_MANIFEST_PATH", manifest.to_string()),
        ("CARGO_PKG_NAME", text(&package["name"]).to_owned()),
        ("CARGO_PKG_VERSION", version.to_owned()),
        ("CARGO_PKG_VERSION_MAJOR", number()),
        ("CARGO_PKG_VERSION_MINOR", number()),
        ("CARGO_PKG_VERSION_PATCH", number()),
        ("CARGO_PKG_VERSION_PRE", pre.to_owned()),
        ("CARGO_PKG_AUTHORS", authors.collect::<Vec<_>>().join(":")),
    ];
    for (variable, field) in [
        ("CARGO_PKG_DESCRIPTION", "description"),
        ("CARGO_PKG_HOMEPAGE", "homepage"),
        ("CARGO_PKG_LICENSE", "license"),
        ("CARGO_PKG_LICENSE_FILE", "license_file"),
        ("CARGO_PKG_README", "readme"),
        ("CARGO_PKG_REPOSITORY", "repository"),
        ("CARGO_PKG_RUST_VERSION", "rust_version"),
    ] {
        all.push((variable, text(&package[field]).to_owned()));
    }
    all.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn has_documented_library(package: &Value) -> bool {
    let mut targets = package["targets"].as_array().into_iter().flatten();
    targets.any(|target| target["doctest"] == true)
}

/// Returns whether any source file could hold a doc-test: a block of code, fenced or indented, or documentation that is
/// written elsewhere.
fn mentions_code(dir: &Utf8Path) -> bool {
    let Ok(entries) = dir.read_dir_utf8() else {
        return false;
    };
    let is_indented = |line: &str| {
        let line = line.trim_start();
        let rest = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        // One space is usual, and code is four further in.
        rest.is_some_and(|rest| rest.starts_with("     ") || rest.starts_with('\t'))
    };
    let may_hold = |text: &str| {
        ["```", "~~~", "doc =", "doc=", "/**", "/*!"]
            .iter()
            .any(|mark| text.contains(mark))
            || text.lines().any(is_indented)
    };
    entries.flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => {
            let is_other = matches!(entry.file_name(), "target" | ".git");
            !is_other && mentions_code(entry.path())
        }
        _ if entry.path().extension() != Some("rs") => false,
        _ => fs::read_to_string(entry.path()).is_ok_and(|text| may_hold(&text)),
    })
}

/// Returns why what this machine compiles would be other than what a box compiles: cargo has settings here that do not go along
/// with the sources, or the sources' own compile for the processor that they are compiled on.
pub(super) fn foreign_flags(source: &Utf8Path) -> Option<String> {
    let above = source.ancestors().skip(1).map(|dir| dir.join(".cargo"));
    let foreign = above.chain(cargo_home()).flat_map(files).find_map(|file| {
        let key = changing_key(&fs::read_to_string(&file).ok()?)?;
        Some(format!("{file} sets {key}, and the box does not have it"))
    });
    foreign.or_else(|| {
        let own = files(source.join(".cargo"))
            .find(|file| fs::read_to_string(file).is_ok_and(|text| text.contains("target-cpu")))?;
        Some(format!(
            "{own} sets target-cpu, which may mean this machine's own processor"
        ))
    })
}

/// Returns the directory where cargo keeps its own things.
pub(super) fn cargo_home() -> Option<Utf8PathBuf> {
    let own = env::var("CARGO_HOME").ok().map(Utf8PathBuf::from);
    own.or_else(|| Some(Utf8PathBuf::from(env::var("HOME").ok()?).join(".cargo")))
}

fn files(dir: Utf8PathBuf) -> impl Iterator<Item = Utf8PathBuf> {
    ["config.toml", "config"]
        .into_iter()
        .map(move |name| dir.join(name))
}

/// Returns the first key of a configuration of cargo's that changes what is compiled, or how it is run.
fn changing_key(text: &str) -> Option<String> {
    let table: toml::Table = text.parse().ok()?;
    let of_build = |key: &&str| {
        let build = table.get("build").and_then(toml::Value::as_table);
        build.is_some_and(|build| build.contains_key(*key))
    };
    if let Some(key) = ["rustflags", "target", "rustc"].iter().find(|key| of_build(key)) {
        return Some(format!("build.{key}"));
    }
    let targets = table
        .get("target")
        .and_then(toml::Value::as_table)
        .into_iter()
        .flatten();
    for (name, target) in targets {
        let keys = ["rustflags", "runner"];
        if let Some(key) = keys.iter().find(|key| target.get(key).is_some()) {
            return Some(format!("target.{name}.{key}"));
        }
    }
    ["profile", "env", "patch"]
        .iter()
        .find(|key| table.contains_key(**key))
        .map(|key| (*key).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doc_tests_are_looked_for_in_all_sources() {
        let temp = tempfile::tempdir().unwrap();
        let dir = Utf8Path::from_path(temp.path()).unwrap();
        fs::create_dir(dir.join("deep")).unwrap();
        fs::write(dir.join("lib.rs"), "/// Adds.\nfn add() {}\n").unwrap();
        assert!(!mentions_code(dir));
        for text in [
            "/// ```\n/// add();\n/// ```\n",
            "//!     add();\n",
            "#![doc = include_str!(\"../README.md\")]\n",
        ] {
            fs::write(dir.join("deep/mod.rs"), text).unwrap();
            assert!(mentions_code(dir), "{text}");
        }
    }

    #[test]
    fn settings_that_the_box_lacks_are_named() {
        assert_eq!(changing_key("[net]\noffline = true\n[build]\njobs = 2\n"), None);
        assert_eq!(
            changing_key("[build]\nrustflags = [\"-g\"]\n").unwrap(),
            "build.rustflags"
        );
        assert_eq!(
            changing_key("[target.'cfg(unix)']\nrunner = \"sudo\"\n").unwrap(),
            "target.cfg(unix).runner"
        );
        assert_eq!(changing_key("[profile.dev]\nopt-level = 1\n").unwrap(), "profile");
    }

    #[test]
    fn program_gets_the_variables_of_its_package() {
        let metadata = serde_json::json!({"workspace_root": "/w", "packages": [{
            "id": "a 1", "name": "a-b", "version": "1.2.3-rc.1", "manifest_path": "/w/a/Cargo.toml", "authors": ["x", "y"],
            "targets": [{"kind": ["rlib"], "name": "a_b", "src_path": "/w/a/src/lib.rs", "doctest": false}]}]});
        let workspace = Workspace::of(&metadata);
        let target = workspace.target("a 1", "lib", "a_b").unwrap();
        assert_eq!(target.source, "src/lib.rs");
        let value = |name: &str| {
            target
                .package
                .environment
                .iter()
                .find(|(own, _)| own == name)
                .unwrap()
                .1
                .as_str()
        };
        assert_eq!(value("CARGO_MANIFEST_DIR"), "/w/a");
        assert_eq!(
            (value("CARGO_PKG_VERSION_PATCH"), value("CARGO_PKG_VERSION_PRE")),
            ("3", "rc.1")
        );
        assert_eq!(value("CARGO_PKG_AUTHORS"), "x:y");
        assert!(workspace.target("a 1", "test", "a_b").is_none());
    }
}
