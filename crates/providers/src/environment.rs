//! What the environment holds, and how a cloud is made of it. Keeps out: which clouds there are.

use std::{path::PathBuf, sync::Arc};

use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    name::ProviderName,
};

use crate::http::RequestLog;

/// How a cloud is made of what the environment holds.
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: &'static str,
    /// The variables without which it cannot be made, with values that do for one that is only looked at.
    pub(crate) stand_ins: &'static [(&'static str, &'static str)],
    /// The variables that say where its API answers.
    pub(crate) endpoint: &'static [&'static str],
    /// Says the same where more than those variables counts.
    pub(crate) configured: Option<fn(&Environment<'_>) -> Option<String>>,
    /// Makes it; or says what is missing, and where to get that. Sends nothing, and sets nothing up that takes time.
    pub(crate) make: Make,
}

type Make = fn(&Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError>;

/// A cloud that is known here.
pub struct CloudAccess {
    /// Its name.
    pub name: ProviderName,
    /// Its calls. While something is missing it is only to be looked at: its defaults, its prices, what it can do.
    pub api: Arc<dyn CloudApi>,
    /// What is missing to use it, and where to get that.
    pub missing: Option<ProviderError>,
}

/// What the environment holds.
pub struct Environment<'a> {
    /// Returns a variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Maker and product of this machine, from [`this_machine`]: an instance of a cloud may have a role there.
    pub machine: Option<String>,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
}

/// Returns the maker and the product of this machine, as its firmware reports them.
pub fn this_machine() -> Option<String> {
    let read = |name: &str| std::fs::read_to_string(format!("/sys/devices/virtual/dmi/id/{name}")).ok();
    Some(format!(
        "{} {}",
        read("sys_vendor")?.trim(),
        read("product_name")?.trim()
    ))
}

impl Environment<'_> {
    /// Returns a variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    /// Returns the first of these variables that is set and not empty.
    pub(crate) fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Returns whether this machine is one of that make.
    pub(crate) fn is_on(&self, make: &str) -> bool {
        self.machine
            .as_ref()
            .is_some_and(|machine| machine.contains(make))
    }

    /// Returns a file in the user's home, if it is there.
    pub(crate) fn home_file(&self, path: &str) -> Option<PathBuf> {
        Some(PathBuf::from(self.get("HOME")?).join(path)).filter(|path| path.is_file())
    }
}

impl Entry {
    /// Returns the cloud, with what is missing to use it.
    pub(crate) fn known(&self, environment: &Environment<'_>) -> CloudAccess {
        let (api, missing) = match (self.make)(environment) {
            Ok(api) => (api, None),
            Err(error) => (self.stand_in(), Some(error)),
        };
        CloudAccess {
            name: provider_name(self.name),
            api,
            missing,
        }
    }

    /// Returns the cloud with credentials that are none.
    fn stand_in(&self) -> Arc<dyn CloudApi> {
        with_variables(self.stand_ins, |environment| (self.make)(environment))
            .unwrap_or_else(|error| panic!("the stand-ins of {} are not enough: {error}", self.name))
    }
}

/// Hands over an environment that has these variables alone.
pub(crate) fn with_variables<T>(variables: &[(&str, &str)], see: impl FnOnce(&Environment<'_>) -> T) -> T {
    let variable = |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name);
        found.map(|(_, value)| (*value).to_owned())
    };
    see(&Environment {
        variable: &variable,
        machine: None,
        log: None,
    })
}

/// Says what is missing to use a cloud, and where to get that.
pub(crate) fn missing(name: &str, cause: &str, help: &str) -> ProviderError {
    provider_name(name)
        .error(ErrorKind::Unauthorized, "be used", cause)
        .with_help(help)
}

pub(crate) fn provider_name(name: &str) -> ProviderName {
    ProviderName::new(name).expect("it keeps to the rule")
}
