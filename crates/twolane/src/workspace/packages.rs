//! What a workspace depends on → the Debian packages that it is built with.

use std::{collections::BTreeSet, fs};

use camino::Utf8Path;

/// Crates, and the packages that their build scripts need.
const CRATES: [(&str, &[&str]); 21] = [
    ("alsa-sys", &["libasound2-dev"]),
    ("aws-lc-fips-sys", &["cmake", "golang-go"]),
    ("aws-lc-sys", &["cmake"]),
    ("bindgen", &["clang", "libclang-dev"]),
    ("clang-sys", &["clang", "libclang-dev"]),
    ("cmake", &["cmake"]),
    ("fuser", &["libfuse3-dev"]),
    ("libbpf-sys", &["libelf-dev", "zlib1g-dev"]),
    ("libdbus-sys", &["libdbus-1-dev"]),
    ("libgit2-sys", &["cmake"]),
    ("libseccomp-sys", &["libseccomp-dev"]),
    ("libsqlite3-sys", &["libsqlite3-dev"]),
    ("libssh2-sys", &["libssh2-1-dev", "zlib1g-dev"]),
    ("libudev-sys", &["libudev-dev"]),
    ("libz-sys", &["zlib1g-dev"]),
    ("lzma-sys", &["liblzma-dev"]),
    ("openssl-sys", &["libssl-dev"]),
    ("pixman-sys", &["libpixman-1-dev"]),
    ("prost-build", &["protobuf-compiler"]),
    ("protobuf-codegen", &["protobuf-compiler"]),
    ("protoc-rust", &["protobuf-compiler"]),
];

/// Libraries that sources link to by name.
const LIBRARIES: [(&str, &str); 4] = [
    ("cap-ng", "libcap-ng-dev"),
    ("pixman-1", "libpixman-1-dev"),
    ("seccomp", "libseccomp-dev"),
    ("udev", "libudev-dev"),
];

/// Returns the packages for the crates of the lock file; without one, for those that the manifest names.
pub(super) fn of_lock(dir: &Utf8Path) -> BTreeSet<&'static str> {
    let text = fs::read_to_string(dir.join("Cargo.lock")).unwrap_or_default();
    let is_named = |name: &str| text.contains(&format!("\nname = \"{name}\"\n"));
    let needed = CRATES.iter().filter(|(name, _)| is_named(name));
    let mut packages: BTreeSet<_> = needed
        .flat_map(|(_, packages)| packages.iter().copied())
        .collect();
    if text.contains("source = \"git+") {
        packages.insert("git");
    }
    packages
}

/// Returns the packages of the libraries of those names.
pub(super) fn of_links(names: &BTreeSet<String>) -> impl Iterator<Item = &'static str> {
    LIBRARIES
        .iter()
        .filter(|(name, _)| names.contains(*name))
        .map(|(_, package)| *package)
}

/// Returns the packages that link programs for these targets.
pub(super) fn of_targets(targets: &[String]) -> Option<&'static str> {
    let is_musl = targets.iter().any(|target| target.ends_with("-musl"));
    is_musl.then_some("musl-tools")
}

/// Returns the packages for what `.cargo/config.toml` asks for.
pub(super) fn of_cargo(dir: &Utf8Path) -> Vec<&'static str> {
    let text = fs::read_to_string(dir.join(".cargo/config.toml")).unwrap_or_default();
    let asked = [
        ("fuse-ld=lld", "lld"),
        ("fuse-ld=mold", "mold"),
        ("git-fetch-with-cli = true", "git"),
    ];
    let asked = asked.iter().filter(|(word, _)| text.contains(word));
    asked.map(|(_, package)| *package).collect()
}
