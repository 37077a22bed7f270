//! Reads the daemons' configuration files: the part of TOML that they need. Tables, strings, whole numbers, booleans.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::signature::Secret;

/// The gateway's configuration.
pub struct GatewayConfig {
    /// Where it listens.
    pub listen: String,
    /// Where the coordinator listens.
    pub coordinator: String,
    /// What requests are signed with.
    pub secret: Secret,
}

/// The coordinator's configuration.
pub struct CoordinatorConfig {
    /// Where it listens.
    pub listen: String,
    /// Where the agent of its node listens.
    pub agent: PathBuf,
    /// What requests are signed with.
    pub secret: Secret,
}

impl GatewayConfig {
    /// Reads the gateway's file.
    pub fn read(path: &Path) -> Result<Self, String> {
        in_file(path, |values| {
            Ok(GatewayConfig {
                listen: values.take("listen")?,
                coordinator: values.take("coordinator.address")?,
                secret: Secret::new(&values.take("hmac.secret")?)?,
            })
        })
    }
}

impl CoordinatorConfig {
    /// Reads the coordinator's file.
    pub fn read(path: &Path) -> Result<Self, String> {
        in_file(path, coordinator)
    }
}

fn coordinator(values: &mut Values) -> Result<CoordinatorConfig, String> {
    let number = |text: String| {
        text.parse::<u32>()
            .map_err(|_| format!("`{text}` is not a number of nodes"))
    };
    if values.take("autoscale.enabled")? != "true" {
        return Err("autoscale is disabled: without it no node would ever be started".to_owned());
    }
    let least = number(values.take("autoscale.min_nodes")?)?;
    let most = number(values.take("autoscale.max_nodes")?)?;
    if least == 0 || least > most {
        return Err(format!("autoscale wants from 1 node up, not {least} to {most}"));
    }
    Ok(CoordinatorConfig {
        listen: values.take("listen")?,
        agent: values.take("agent.socket")?.into(),
        secret: Secret::new(&values.take("hmac.secret")?)?,
    })
}

fn in_file<T>(path: &Path, read: impl Fn(&mut Values) -> Result<T, String>) -> Result<T, String> {
    let named = |why: String| format!("could not use {}: {why}", path.display());
    let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    whole(&text, read).map_err(named)
}

/// Reads a text, and refuses what nobody asked for in it.
fn whole<T>(text: &str, read: impl Fn(&mut Values) -> Result<T, String>) -> Result<T, String> {
    let mut values = Values::parse(text)?;
    let config = read(&mut values)?;
    match values.0.keys().next() {
        None => Ok(config),
        Some(key) => Err(format!("there is no `{key}`")),
    }
}

/// Values by `table.key`, not yet asked for.
struct Values(BTreeMap<String, String>);

impl Values {
    fn parse(text: &str) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        let mut table = String::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            let wrong = |why: &str| format!("line {}: {why}", index + 1);
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                table = format!("{name}.");
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| wrong("there is no `=`"))?;
            let value = plain(value.trim()).ok_or_else(|| wrong("the value cannot be read"))?;
            if values.insert(format!("{table}{}", key.trim()), value).is_some() {
                return Err(wrong("the key appears twice"));
            }
        }
        Ok(Values(values))
    }

    fn take(&mut self, key: &str) -> Result<String, String> {
        self.0.remove(key).ok_or_else(|| format!("`{key}` is missing"))
    }
}

/// Returns what a value says: a string without its quotes, or a bare word.
fn plain(value: &str) -> Option<String> {
    match value.strip_prefix('"') {
        Some(rest) => {
            let inner = rest.strip_suffix('"')?;
            (!inner.contains(['"', '\\'])).then(|| inner.to_owned())
        }
        None => {
            let is_word = !value.is_empty() && value.chars().all(|c| c.is_ascii_alphanumeric());
            is_word.then(|| value.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "listen = \"127.0.0.1:1\"\n[hmac]\nsecret = \"SECRET\"\n[autoscale]\nenabled = true\n\
                        min_nodes = 1\nmax_nodes = 1\n[agent]\nsocket = \"/run/a\"\n";

    #[track_caller]
    fn check(old: &str, new: &str, expected: &str) {
        let text = GOOD.replace("SECRET", &"5".repeat(64)).replace(old, new);
        let outcome = whole(&text, coordinator).map_or_else(|why| why, |_| "good".to_owned());
        assert_eq!(outcome, expected);
    }

    #[test]
    fn a_whole_file_is_good() {
        check("", "", "good");
    }

    #[test]
    fn disabled_autoscale_is_refused() {
        check(
            "enabled = true",
            "enabled = false",
            "autoscale is disabled: without it no node would ever be started",
        );
        check(
            "min_nodes = 1",
            "min_nodes = 0",
            "autoscale wants from 1 node up, not 0 to 1",
        );
        check(
            "min_nodes = 1",
            "min_nodes = 2",
            "autoscale wants from 1 node up, not 2 to 1",
        );
    }

    #[test]
    fn what_is_missing_unknown_or_doubled_is_named() {
        check("[agent]\nsocket = \"/run/a\"\n", "", "`agent.socket` is missing");
        check("[agent]", "[agents]", "`agent.socket` is missing");
        check(
            "max_nodes = 1",
            "max_nodes = 1\ncolour = 7",
            "there is no `autoscale.colour`",
        );
        check(
            "max_nodes = 1",
            "max_nodes = 1\nmax_nodes = 2",
            "line 8: the key appears twice",
        );
        check("= true", "= {{ yes }}", "line 5: the value cannot be read");
        check(
            &"5".repeat(64),
            "short",
            "the secret is shorter than 64 characters",
        );
    }
}
