//! How a workspace configures cargo-nextest.

use std::fs;

use camino::Utf8Path;
use model::config::Nextest;
use toml::Table;

/// Reads `.config/nextest.toml`, where there is one.
pub(super) fn look(dir: &Utf8Path) -> Option<Nextest> {
    let text = fs::read_to_string(dir.join(".config/nextest.toml")).ok()?;
    let table: Table = text.parse().unwrap_or_default();
    let profile = |name: &str| table.get("profile")?.get(name);
    let name = profile("ci").map(|_| "ci");
    let used = name.unwrap_or("default");
    let path = profile(used).and_then(|profile| profile.get("junit")?.get("path")?.as_str());
    Some(Nextest {
        profile: name.map(str::to_owned),
        // One that lies elsewhere is not in what comes back.
        junit: path
            .filter(|path| !path.starts_with('/') && !path.contains(".."))
            .map(|path| format!("{}/nextest/{used}/{path}", target_dir(dir))),
    })
}

/// Returns where cargo builds, relative to the workspace.
fn target_dir(dir: &Utf8Path) -> String {
    let text = fs::read_to_string(dir.join(".cargo/config.toml")).unwrap_or_default();
    let table: Table = text.parse().unwrap_or_default();
    let named = table
        .get("build")
        .and_then(|build| build.get("target-dir")?.as_str());
    named.unwrap_or("target").to_owned()
}
