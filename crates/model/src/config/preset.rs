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
        let targets = found
            .targets
            .iter()
            .map(|target| toml::Value::from(target.as_str()).to_string());
        let targets: Vec<String> = targets.collect();
        environment.render_str(
            template,
            context! {
                project => project_name(&found.name),
                found => Serde(found),
                cheap => found.command(&found.cheap()),
                live => found.command(&found.live()),
                junit => found.nextest.as_ref().and_then(|nextest| nextest.junit.clone()),
                targets => targets.join(", "),
                docs => found.cheap().replace(" --lib", "").replace(" --bins", ""),
                has_own_checks => !found.live.is_empty() || found.nextest.is_some() || found.selection.is_some(),
            },
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
    /// The components and targets in its `rust-toolchain.toml`, beside the usual.
    pub components: Vec<String>,
    /// See [`Self::components`].
    pub targets: Vec<String>,
    /// The Debian packages that what it depends on is built with, beside the usual.
    pub packages: Vec<String>,
    /// Whether something in it opens `/dev/kvm`.
    pub needs_kvm: bool,
    /// Its packages with tests that open `/dev/kvm`, by a look at the source.
    pub live: Vec<String>,
    /// How cargo-nextest is configured, where it is.
    pub nextest: Option<Nextest>,
    /// What selects the tests that need nothing from outside, where `--workspace` would select others too.
    pub selection: Option<String>,
    /// Whether its live tests need root.
    pub needs_root: bool,
    /// Variables that its tests are gated by, each with the file that reads it.
    pub gates: Vec<(String, String)>,
    /// What people should know of the workspace.
    pub notes: Vec<String>,
    /// Whether mvmd lies beside it.
    pub has_mvmd: bool,
}

/// How a workspace configures cargo-nextest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Nextest {
    /// The profile for CI systems, where there is one.
    pub profile: Option<String>,
    /// The JUnit file of that profile, relative to the workspace.
    pub junit: Option<String>,
}

impl Found {
    /// Returns the arguments that select the tests of the cheap half.
    fn cheap(&self) -> String {
        let all = self.selection.as_deref().unwrap_or("--workspace");
        let others = self.live.iter().map(|name| format!(" --exclude {name}"));
        others.fold(all.to_owned(), |text, other| text + &other)
    }

    /// Returns the arguments that select the tests of the live half.
    fn live(&self) -> String {
        let packages = self.live.iter().map(|name| format!("-p {name}"));
        let packages: Vec<String> = packages.collect();
        let kinds = self
            .selection
            .as_deref()
            .unwrap_or_default()
            .replace("--workspace", "");
        match packages.as_slice() {
            [] => self.selection.clone().unwrap_or_else(|| "--workspace".to_owned()),
            packages => format!("{} {}", packages.join(" "), kinds.trim())
                .trim_end()
                .to_owned(),
        }
    }

    /// Returns the command that runs the tests that the arguments select.
    fn command(&self, arguments: &str) -> String {
        match &self.nextest {
            Some(nextest) => {
                let profile = nextest.profile.as_ref().map(|name| format!(" --profile {name}"));
                format!(
                    "cargo nextest run {arguments} --no-fail-fast{}",
                    profile.unwrap_or_default()
                )
            }
            None => format!("cargo test {arguments} --no-fail-fast"),
        }
    }
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
    ("test", "cargo test --workspace --no-fail-fast"),
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
            Need::File("deny.toml".to_owned()),
            Need::Program("cargo-deny".to_owned()),
            Need::AdvisoryDb,
        ],
        "audit" => vec![
            Need::File("Cargo.lock".to_owned()),
            Need::Program("cargo-audit".to_owned()),
            Need::AdvisoryDb,
        ],
        _ => Vec::new(),
    };
    Some(Check {
        needs,
        ..Check::new(*name, *run)
    })
}
