//! Reads the text of `twolane.toml`: either the whole configuration, or every mistake in it.

mod check;
mod depth;
mod lane;
mod rules;
mod system;
pub(super) mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use toml::{
    Spanned,
    de::{DeTable, Error},
};

pub(crate) use self::rules::ttl;
pub use self::rules::{TTL_MAX, provider_word};
use self::walk::{Mistakes, Table};
use super::{
    Acceleration, Around, Binary, BoxChoice, Config, Deploy, Local, Network, SourceDir, System,
    mistake::{Mistake, suggest},
    preset,
};
use crate::{limits::Limits, name::ProviderName};

/// What the parts of the file are read with.
struct Reader<'a> {
    around: &'a Around,
    mistakes: &'a Mistakes,
    /// Whether `[deploy]` names a smoke script.
    has_smoke: bool,
    /// What `[project]` says of `fail-on-skip`.
    fail_on_skip: bool,
}

/// Reads the text of `twolane.toml`. The mistakes come in the order of the file.
pub fn read(text: &str, around: &Around) -> Result<Config, Vec<Mistake>> {
    if let Some(at) = depth::too_deep(text) {
        return Err(vec![Mistake {
            span: at..at + 1,
            message: "too many brackets are open here".to_owned(),
            help: Some("see that each of them is closed".to_owned()),
        }]);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What the parser made of the rest is a guess: only what it could not read is worth telling.
        return Err(errors.iter().map(|error| syntax(error, text)).collect());
    }
    let mistakes = Mistakes::default();
    let config = whole(&document, around, &mistakes);
    let mistakes = mistakes.sorted();
    match config {
        Some(config) if mistakes.is_empty() => Ok(config),
        _ => Err(mistakes),
    }
}

/// Returns the configuration of a Rust workspace that has no `twolane.toml`: the `rust` preset on this machine.
pub fn without_file(found: &preset::Found) -> Result<Config, Vec<Mistake>> {
    let text = preset::Preset::Rust.text(found).map_err(|error| {
        vec![Mistake {
            span: 0..0,
            message: format!("the rust preset could not be written: {error}"),
            help: None,
        }]
    })?;
    read(&text, &Around::default())
}

fn syntax(error: &Error, text: &str) -> Mistake {
    let span = error.span().unwrap_or(0..0);
    Mistake {
        span: span.start.min(text.len())..span.end.min(text.len()),
        message: error.message().to_owned(),
        help: None,
    }
}

fn whole<'a>(
    document: &'a Spanned<DeTable<'a>>,
    around: &'a Around,
    mistakes: &'a Mistakes,
) -> Option<Config> {
    let mut file = Table::new("twolane.toml".to_owned(), 0..0, document.get_ref(), mistakes);
    let mut reader = Reader {
        around,
        mistakes,
        has_smoke: false,
        fail_on_skip: false,
    };

    let project = file
        .take("project")
        .and_then(|value| value.table())
        .map(project)
        .unwrap_or_default();
    reader.fail_on_skip = project.fail_on_skip;
    let baseline = project.baseline;
    let project = project.name.unwrap_or_else(|| preset::project_name(&around.name));
    let sources = match file.take("sources") {
        Some(value) => value.table().map(|table| sources(&table)),
        None => Some(vec![SourceDir {
            name: project.clone(),
            path: ".".into(),
        }]),
    };
    let system = file.take("system").map(|value| value.table().map(system::system));
    let deploy = file.take("deploy").map(|value| value.table().map(deploy));
    let deploy = deploy.unwrap_or_else(|| Some(Deploy::default()));
    reader.has_smoke = deploy.as_ref().is_none_or(|deploy| deploy.smoke.is_some());
    let lanes = match file.take("lanes") {
        Some(value) => value.table().map(|table| reader.lanes(table)),
        None => {
            file.refuse(
                "there is no lane",
                "add a table such as [lanes.no-kvm]".to_owned(),
            );
            None
        }
    };
    let local = file.take("local").and_then(|value| value.table()).map(local);
    let limits = file.take("limits").and_then(|value| value.table()).map(limits);
    let endpoints = file.take("endpoints").and_then(|value| value.table());
    let endpoints = endpoints
        .map(|table| reader.endpoints(&table))
        .unwrap_or_default();
    file.finish();
    Some(Config {
        project,
        baseline,
        sources: sources?,
        system: system.unwrap_or_else(|| Some(System::default()))?,
        deploy: deploy?,
        lanes: lanes?,
        local: local.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        endpoints,
    })
}

/// `[project]` as far as it could be read.
#[derive(Default)]
struct Project {
    name: Option<String>,
    fail_on_skip: bool,
    baseline: Option<camino::Utf8PathBuf>,
}

fn project(mut table: Table<'_>) -> Project {
    let name = table.take("name").and_then(|value| value.read(&rules::PROJECT));
    let fail_on_skip = table.take("fail-on-skip").and_then(|value| value.flag());
    let baseline = table
        .take("baseline")
        .and_then(|value| value.read(&rules::INNER_PATH));
    table.finish();
    Project {
        name,
        fail_on_skip: fail_on_skip.unwrap_or(false),
        baseline: baseline.map(camino::Utf8PathBuf::from),
    }
}

fn sources(table: &Table<'_>) -> Vec<SourceDir> {
    let named = table.named(&rules::SOURCE);
    if table.is_empty() {
        table.refuse(
            "[sources] is empty: there would be nothing to check",
            "write `NAME = { path = \".\" }`".to_owned(),
        );
    }
    let source = |(name, span, value): (String, _, walk::Value<'_>)| {
        let mut table = value.table()?.called(format!("source `{name}`"), span);
        let path = table
            .need("path", "\".\"")
            .and_then(|value| value.read(&rules::SOURCE_PATH));
        table.finish();
        Some(SourceDir { name, path: path? })
    };
    named.into_iter().filter_map(source).collect()
}

fn deploy(mut table: Table<'_>) -> Deploy {
    let mut deploy = Deploy::default();
    if let Some(value) = table.take("binaries") {
        let entries = value.list("binaries").unwrap_or_default();
        deploy.binaries = entries.iter().filter_map(binary).collect();
    }
    if let Some(value) = table.take("configs") {
        deploy.configs = value.list_of("paths", &rules::INNER_PATH);
    }
    if let Some(value) = table.take("units") {
        deploy.units = value.list_of("units", &rules::UNIT);
    }
    deploy.smoke = table
        .take("smoke")
        .and_then(|value| value.read(&rules::INNER_PATH));
    let config_dir = table
        .take("config-dir")
        .and_then(|value| value.read(&rules::ABSOLUTE_PATH));
    deploy.config_dir = config_dir.unwrap_or(deploy.config_dir);
    let user = table.take("user").and_then(|value| value.read(&rules::USER));
    deploy.user = user.unwrap_or(deploy.user);
    table.finish();
    deploy
}

fn binary(entry: &walk::Value<'_>) -> Option<Binary> {
    let mut table = entry.table()?;
    let package = table
        .need("package", "\"mvmd\"")
        .and_then(|value| value.read(&rules::WORD));
    let bin = table.take("bin").map(|value| value.read(&rules::WORD));
    table.finish();
    let package = package?;
    Some(Binary {
        bin: bin.unwrap_or_else(|| Some(package.clone()))?,
        package,
    })
}

fn local(mut table: Table<'_>) -> Local {
    let accelerations = [
        ("auto", Acceleration::Auto),
        ("kvm", Acceleration::Kvm),
        ("tcg", Acceleration::Tcg),
    ];
    let networks = [
        ("internet", Network::Internet),
        ("none", Network::None),
        ("host", Network::Host),
    ];
    let local = Local {
        image: table
            .take("image")
            .and_then(|value| value.read(&rules::PROVIDER_WORD)),
        mirror: table.take("mirror").and_then(|value| value.read(&rules::URL)),
        acceleration: table
            .take("acceleration")
            .and_then(|value| value.word(&accelerations))
            .unwrap_or_default(),
        qemu: table
            .take("qemu")
            .and_then(|value| value.read(&rules::ABSOLUTE_PATH)),
        is_cold: table.take("template").and_then(|value| value.flag()) == Some(false),
        network: table
            .take("network")
            .and_then(|value| value.word(&networks))
            .unwrap_or_default(),
        allow: table
            .take("allow")
            .map(|value| value.list_of("addresses", &rules::PEER))
            .unwrap_or_default(),
    };
    table.finish();
    local
}

fn limits(mut table: Table<'_>) -> Limits {
    let mut size = |key| table.take(key).and_then(|value| value.read(&rules::SIZE));
    let usual = Limits::default();
    let (log, artifacts, run, free) = (size("log"), size("artifacts"), size("run"), size("free"));
    let files = table.take("artifact-files");
    let files = files.and_then(|value| value.number(1..=10_000_000));
    table.finish();
    Limits {
        log_bytes: log.unwrap_or(usual.log_bytes),
        artifact_bytes: artifacts.unwrap_or(usual.artifact_bytes),
        artifact_files: files.map_or(usual.artifact_files, u64::from),
        run_bytes: run.unwrap_or(usual.run_bytes),
        free_bytes: free.unwrap_or(usual.free_bytes),
    }
}

impl Reader<'_> {
    fn lanes(&self, table: Table<'_>) -> Vec<super::Lane> {
        let named = table.named(&rules::LANE);
        if table.is_empty() {
            table.refuse(
                "there is no lane",
                "add a table such as [lanes.no-kvm]".to_owned(),
            );
        }
        named
            .into_iter()
            .filter_map(|(name, span, value)| self.lane(name, span, &value))
            .collect()
    }

    fn endpoints(&self, table: &Table<'_>) -> BTreeMap<ProviderName, String> {
        let mut endpoints = BTreeMap::new();
        for (name, span, value) in table.named(&rules::PROVIDER_WORD) {
            let url = value.read(&rules::URL);
            match ProviderName::new(name.as_str()) {
                Ok(provider) if self.around.has_provider(&name) => {
                    endpoints.extend(url.map(|url| (provider, url)));
                }
                _ => self.mistakes.add(
                    span,
                    format!("there is no provider `{name}`"),
                    suggest(&name, self.around.provider_names()),
                ),
            }
        }
        endpoints
    }

    fn local(&self) -> BoxChoice {
        // `local` keeps to the rule of a provider's name.
        BoxChoice::of(ProviderName::new("local").unwrap())
    }
}

impl Around {
    /// Returns whether there is a provider of that name, as far as is known.
    fn has_provider(&self, name: &str) -> bool {
        self.providers.is_empty() || self.providers.iter().any(|known| known.as_str() == name)
    }

    fn provider_names(&self) -> impl Iterator<Item = &str> {
        self.providers.iter().map(ProviderName::as_str)
    }
}
