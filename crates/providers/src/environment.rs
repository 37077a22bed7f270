//! Which clouds can be used with what the environment holds. What each of them reads there is in its own folder.

use std::{path::PathBuf, sync::Arc};

use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    name::ProviderName,
};

use crate::{aws, azure, gcp, hetzner, http::RequestLog, latitude, ovh, vultr};

/// All clouds: a new one is a folder and one line here.
const CLOUDS: &[Entry] = &[
    aws::ENTRY,
    azure::ENTRY,
    gcp::ENTRY,
    hetzner::ENTRY,
    latitude::ENTRY,
    ovh::ENTRY,
    vultr::ENTRY,
];

/// How a cloud is made of what the environment holds.
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: &'static str,
    /// The variables without which it cannot be made, with values that do for one that is only looked at.
    pub(crate) stand_ins: &'static [(&'static str, &'static str)],
    /// The variables that say where its API answers.
    pub(crate) endpoint: &'static [&'static str],
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

/// Returns every cloud, by name, each with what is missing to use it. Sends nothing.
pub fn from_environment(environment: &Environment<'_>) -> Vec<CloudAccess> {
    CLOUDS.iter().map(|entry| entry.known(environment)).collect()
}

/// Returns the address at which a cloud's API answers, where the environment names another than the vendor's own: that of a
/// proxy, or of a fake in a test.
pub fn endpoint(provider: &ProviderName, variable: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let environment = Environment {
        variable,
        machine: None,
        log: None,
    };
    let entry = CLOUDS.iter().find(|entry| entry.name == provider.as_str())?;
    environment
        .first(entry.endpoint)
        .filter(|endpoint| endpoint.contains("://"))
}

impl Entry {
    fn known(&self, environment: &Environment<'_>) -> CloudAccess {
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
        let value = |name: &str| self.stand_ins.iter().find(|(key, _)| *key == name);
        let variable = |name: &str| value(name).map(|(_, value)| (*value).to_owned());
        let environment = Environment {
            variable: &variable,
            machine: None,
            log: None,
        };
        (self.make)(&environment)
            .unwrap_or_else(|error| panic!("the stand-ins of {} are not enough: {error}", self.name))
    }
}

/// Says what is missing to use a cloud, and where to get that.
pub(crate) fn missing(name: &str, cause: &str, help: &str) -> ProviderError {
    ProviderError {
        kind: ErrorKind::Unauthorized,
        provider: provider_name(name),
        operation: "be used".to_owned(),
        cause: cause.to_owned(),
        help: Some(help.to_owned()),
    }
}

fn provider_name(name: &str) -> ProviderName {
    ProviderName::new(name).expect("it keeps to the rule")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(variables: &[(&str, &str)]) -> Vec<CloudAccess> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        from_environment(&Environment {
            variable: &variable,
            machine: None,
            log: None,
        })
    }

    fn usable(variables: &[(&str, &str)]) -> Vec<String> {
        known(variables)
            .into_iter()
            .filter(|known| known.missing.is_none())
            .map(|known| known.name.to_string())
            .collect()
    }

    #[test]
    fn a_cloud_is_usable_with_its_credentials() {
        assert_eq!(usable(&[]), Vec::<String>::new());
        assert_eq!(usable(&[("HCLOUD_TOKEN", " ")]), Vec::<String>::new());
        assert_eq!(usable(&[("HCLOUD_TOKEN", "t")]), ["hetzner"]);
        assert_eq!(usable(&[("VULTR_API_KEY", "t")]), ["vultr"]);
        assert_eq!(
            usable(&[("HCLOUD_TOKEN", "t"), ("HCLOUD_ENDPOINT", "nowhere")]),
            Vec::<String>::new()
        );
        assert_eq!(
            usable(&[("GOOGLE_OAUTH_ACCESS_TOKEN", "t")]),
            Vec::<String>::new()
        );
        assert_eq!(
            usable(&[("GOOGLE_OAUTH_ACCESS_TOKEN", "t"), ("GOOGLE_CLOUD_PROJECT", "p")]),
            ["gcp"]
        );
        assert_eq!(usable(&[("AWS_PROFILE", "work")]), ["aws"]);
        assert_eq!(usable(&[("AWS_ACCESS_KEY_ID", "k")]), Vec::<String>::new());
        assert_eq!(
            usable(&[("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")]),
            ["aws"]
        );
    }

    #[test]
    fn an_address_that_is_not_the_vendors_is_reported() {
        let at = |provider: &str, name: &str, value: &str| {
            let variable = |asked: &str| (asked == name).then(|| value.to_owned());
            endpoint(&ProviderName::new(provider).unwrap(), &variable)
        };
        let fake = "http://127.0.0.1:1";
        for entry in CLOUDS {
            for name in entry.endpoint {
                assert_eq!(at(entry.name, name, fake).as_deref(), Some(fake));
                assert_eq!(at(entry.name, name, " "), None);
            }
            assert_eq!(at(entry.name, "HOME", fake), None);
        }
        assert_eq!(at("ovh", "OVH_ENDPOINT", "ovh-eu"), None);
        assert_eq!(at("local", "HCLOUD_ENDPOINT", fake), None);
    }

    #[test]
    fn the_project_stands_in_a_service_accounts_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, r#"{"type": "service_account", "project_id": "acme-ci"}"#).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(usable(&[("GOOGLE_APPLICATION_CREDENTIALS", path)]), ["gcp"]);
    }

    #[test]
    fn without_credentials_a_cloud_can_be_looked_at_and_says_what_is_missing() {
        for known in known(&[]) {
            assert_eq!(known.api.name(), &known.name);
            assert_ne!(known.api.choices(), []);
            let error = known.missing.expect("nothing is set");
            let entry = CLOUDS.iter().find(|entry| entry.name == known.name.as_str());
            let text = format!("{} {}", error.cause, error.help.unwrap_or_default());
            assert!(
                entry
                    .unwrap()
                    .stand_ins
                    .iter()
                    .any(|(variable, _)| text.contains(variable)),
                "{text}"
            );
        }
    }
}
