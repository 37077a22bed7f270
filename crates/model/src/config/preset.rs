//! The presets: what `checks = "rust"` stands for, and the texts that `twolane init` writes.

use minijinja::{
    AutoEscape, Environment, UndefinedBehavior, Value, context, syntax::SyntaxConfig, value::Serde,
};
use serde::Serialize;

use crate::{
    check::{Check, Need},
    name::slug,
};

/// A file that `twolane init` can write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Preset {
    /// For any Rust workspace.
    #[default]
    Rust,
    /// For mvm and mvmd.
    Mvm,
}

impl Preset {
    /// Every preset with its name.
    pub const ALL: [(&'static str, Self); 2] = [("rust", Self::Rust), ("mvm", Self::Mvm)];

    /// Returns its text for the workspace that was found: a `twolane.toml` without a mistake in it.
    pub fn text(self, found: &Found) -> Result<String, minijinja::Error> {
        let template = match self {
            Self::Rust => include_str!("presets/rust.toml.j2"),
            Self::Mvm => include_str!("presets/mvm.toml.j2"),
        };
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(syntax()?);
        environment.add_filter("toml", |value: &str| {
            Value::from(toml::Value::from(value).to_string())
        });
        environment.render_str(
            template,
            context! { project => project_name(&found.name), found => Serde(found) },
        )
    }
}

/// Leaves no empty line where a block tag stood.
fn syntax() -> Result<SyntaxConfig, minijinja::Error> {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true)
        .build()
}

/// What a look at the workspace found out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Found {
    /// The name of its directory.
    pub name: String,
    /// The names of the packages in it.
    pub members: Vec<String>,
    /// The channel in its `rust-toolchain.toml`, if it names one.
    pub channel: Option<String>,
    /// Whether this machine has a Rust toolchain that can be copied.
    pub has_rustc: bool,
    /// Whether something in its lock file links to OpenSSL.
    pub needs_openssl: bool,
    /// Whether something in it opens `/dev/kvm`.
    pub needs_kvm: bool,
}

/// Turns any text into the name of a project.
pub(super) fn project_name(text: &str) -> String {
    let name = slug(text, "project");
    let letters = name.trim_start_matches(|c: char| !c.is_ascii_lowercase());
    let short: String = letters.chars().take(20).collect();
    slug(&short, "project")
}

/// The checks of the `rust` preset, in order, by name.
const RUST: [(&str, &str); 5] = [
    ("fmt", "cargo fmt --all --check"),
    ("clippy", "cargo clippy --workspace --all-targets -- -D warnings"),
    ("test", "cargo test --workspace"),
    ("deny", "cargo deny check"),
    ("audit", "cargo audit"),
];

/// Returns the names of the checks that presets have.
pub(super) fn check_names() -> impl Iterator<Item = &'static str> {
    RUST.iter().map(|(name, _)| *name)
}

/// Returns the check of that name.
pub(super) fn check(name: &str) -> Option<Check> {
    let (name, run) = RUST.iter().find(|(known, _)| *known == name)?;
    let needs = match *name {
        "deny" => vec![
            Need::Program("cargo-deny".to_owned()),
            Need::File("deny.toml".to_owned()),
            Need::AdvisoryDb,
        ],
        "audit" => vec![
            Need::Program("cargo-audit".to_owned()),
            Need::File("Cargo.lock".to_owned()),
            Need::AdvisoryDb,
        ],
        _ => Vec::new(),
    };
    Some(Check {
        needs,
        ..Check::new(*name, *run)
    })
}
