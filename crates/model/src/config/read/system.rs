//! Reads `[system]`.

use super::{
    rules,
    walk::{Table, Value},
};
use crate::config::{
    CargoTool, Checksums, Directory, Pinned, Rust, RustFrom, System,
    mistake::nearest,
    pins::{self, Pin},
};

pub(super) fn system(mut table: Table<'_>) -> System {
    let mut system = System::default();
    if let Some(value) = table.take("packages") {
        system.packages = value.list_of("packages", &rules::PACKAGE);
    }
    system.rust = table.take("rust").and_then(rust);
    system.nix = table.take("nix").and_then(|value| switch(&value, &pins::NIX));
    system.firecracker = table
        .take("firecracker")
        .and_then(|value| switch(&value, &pins::FIRECRACKER));
    if let Some(tools) = table.take("cargo-tools") {
        let tools = tools.list("cargo tools").unwrap_or_default();
        system.cargo_tools = tools.iter().filter_map(cargo_tool).collect();
    }
    let user = table.take("user").and_then(|value| value.read(&rules::USER));
    system.user = user.unwrap_or(system.user);
    if let Some(value) = table.take("users") {
        for user in value.list_of("users", &rules::USER) {
            if user != system.user && !system.users.contains(&user) {
                system.users.push(user);
            }
        }
    }
    if let Some(value) = table.take("directories") {
        let listed = value.list("directories").unwrap_or_default();
        system.directories = listed
            .iter()
            .filter_map(|entry| directory(entry, &system))
            .collect();
    }
    system.mirror = table.take("mirror").and_then(|value| value.read(&rules::URL));
    system.ca_certs = table
        .take("ca-certs")
        .and_then(|value| value.read(&rules::LOCAL_PATH));
    table.finish();
    system
}

fn rust(value: Value<'_>) -> Option<Rust> {
    enum From {
        Rustup,
        Apt,
        Operator,
    }
    let mut table = value.table()?;
    let toolchain = table.take("toolchain").map(|value| value.read(&rules::WORD));
    let components = table
        .take("components")
        .map(|value| value.list_of("components", &rules::WORD))
        .unwrap_or_default();
    let targets = table
        .take("targets")
        .map(|value| value.list_of("targets", &rules::WORD))
        .unwrap_or_default();
    let words = [
        ("rustup", &From::Rustup),
        ("apt", &From::Apt),
        ("operator", &From::Operator),
    ];
    let from = table.take("from").and_then(|value| value.word(&words));
    let installer = table.take("rustup");
    table.finish();
    let from = match from.unwrap_or(&From::Rustup) {
        From::Rustup => RustFrom::Rustup(match &installer {
            Some(value) => pinned(value, &pins::RUSTUP)?,
            None => pins::RUSTUP.pinned(),
        }),
        From::Apt => RustFrom::Apt,
        From::Operator => RustFrom::Operator,
    };
    if let (Some(value), RustFrom::Apt | RustFrom::Operator) = (&installer, &from) {
        value.refuse(
            "`rustup` says which installer to take, and the toolchain does not come from rustup",
            "leave it out, or set `from = \"rustup\"`".to_owned(),
        );
    }
    Some(Rust {
        toolchain: toolchain.unwrap_or_else(|| Some("stable".to_owned()))?,
        components,
        targets,
        from,
    })
}

/// Reads `true`, `false`, or a pin.
fn switch(value: &Value<'_>, known: &Pin) -> Option<Pinned> {
    if value.is_table() {
        return pinned(value, known);
    }
    value.flag()?.then(|| known.pinned())
}

/// Reads a version with its checksums. Those of the version that we know need not be given.
fn pinned(value: &Value<'_>, known: &Pin) -> Option<Pinned> {
    let mut table = value.table()?;
    let known = known.pinned();
    let version = table.need("version", &format!("\"{}\"", known.version));
    let version = version.and_then(|value| value.read(&rules::VERSION));
    let given = table.take("sha256");
    let sha256 = match (&given, &version) {
        (Some(value), _) => checksums(value),
        (None, Some(version)) if *version == known.version => Some(known.sha256),
        (None, Some(version)) => {
            table.refuse(
                format!("{} {version} has no checksum", value.what()),
                "add `sha256 = { x86_64 = \"…\" }`, as its vendor publishes it".to_owned(),
            );
            None
        }
        (None, None) => None,
    };
    table.finish();
    Some(Pinned {
        version: version?,
        sha256: sha256?,
    })
}

fn checksums(value: &Value<'_>) -> Option<Checksums> {
    let mut table = value.table()?;
    let mut one = |arch| table.take(arch).map(|value| value.read(&rules::SHA256));
    let (x86_64, aarch64) = (one("x86_64"), one("aarch64"));
    if x86_64.is_none() && aarch64.is_none() {
        value.refuse(
            format!("{} holds no checksum", value.what()),
            "add `x86_64 = \"…\"` or `aarch64 = \"…\"`".to_owned(),
        );
    }
    table.finish();
    Some(Checksums {
        x86_64: x86_64.flatten(),
        aarch64: aarch64.flatten(),
    })
}

fn cargo_tool(entry: &Value<'_>) -> Option<CargoTool> {
    if entry.is_text() {
        let name = entry.read(&rules::WORD)?;
        return match known_version(&name) {
            Some(version) => Some(CargoTool {
                name,
                version,
                url: None,
                sha256: Checksums::default(),
            }),
            None => {
                let help = match nearest(&name, pins::CARGO_TOOLS.map(|(name, _)| name)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("write `{{ name = \"{name}\", version = \"1.2.3\" }}`"),
                };
                entry.refuse(format!("no version of `{name}` is known"), help);
                None
            }
        };
    }
    let mut table = entry.table()?;
    let name = table
        .need("name", "\"cargo-deny\"")
        .and_then(|value| value.read(&rules::WORD));
    let version = match table.take("version") {
        Some(value) => value.read(&rules::VERSION),
        None => name.as_deref().and_then(|name| {
            let known = known_version(name);
            if known.is_none() {
                table.refuse(
                    format!("no version of `{name}` is known"),
                    "add `version = \"1.2.3\"`".to_owned(),
                );
            }
            known
        }),
    };
    let url = table.take("url").map(|value| value.read(&rules::URL));
    let sha256 = table.take("sha256");
    match (&url, &sha256) {
        (Some(_), None) => table.refuse(
            "an archive needs its checksum",
            "add `sha256 = { x86_64 = \"…\" }`".to_owned(),
        ),
        (None, Some(value)) => value.refuse(
            "a checksum needs the archive that it is of",
            "add `url = \"https://…\"`; a tool without an archive is built on the box".to_owned(),
        ),
        _ => {}
    }
    table.finish();
    Some(CargoTool {
        name: name?,
        version: version?,
        url: url.flatten(),
        sha256: sha256.and_then(|value| checksums(&value)).unwrap_or_default(),
    })
}

fn known_version(name: &str) -> Option<String> {
    let known = pins::CARGO_TOOLS.iter().find(|(tool, _)| *tool == name)?;
    Some(known.1.to_owned())
}

/// Reads a path, or a table that says whose it is. A path alone belongs to the user of its last name, if there is one;
/// below `/etc` that user may only read it.
fn directory(entry: &Value<'_>, system: &System) -> Option<Directory> {
    if entry.is_text() {
        return entry
            .read(&rules::ABSOLUTE_PATH)
            .map(|path| default_owner(path, system));
    }
    let mut table = entry.table()?;
    let path = table
        .need("path", "\"/var/lib/mvm\"")
        .and_then(|value| value.read(&rules::ABSOLUTE_PATH));
    let mut part = |key, rule| table.take(key).map(|value| value.read(rule));
    let owner = part("owner", &rules::OWNER);
    let group = part("group", &rules::OWNER);
    let mode = part("mode", &rules::MODE);
    table.finish();
    let usual = default_owner(path?, system);
    Some(Directory {
        owner: owner.flatten().unwrap_or(usual.owner),
        group: group.flatten().unwrap_or(usual.group),
        mode: mode.flatten().unwrap_or(usual.mode),
        path: usual.path,
    })
}

fn default_owner(path: String, system: &System) -> Directory {
    let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let mut users = std::iter::once(&system.user).chain(&system.users);
    let user = users.find(|user| *user == last);
    let (owner, group, mode) = match user {
        Some(user) if path.starts_with("/etc/") => ("root", user.as_str(), "0750"),
        Some(user) => (user.as_str(), user.as_str(), "0750"),
        None => ("root", "root", "0755"),
    };
    Directory {
        owner: owner.to_owned(),
        group: group.to_owned(),
        mode: mode.to_owned(),
        path,
    }
}
