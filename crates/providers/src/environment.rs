//! Which clouds can be used with what the environment holds.

use std::sync::Arc;

use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    name::ProviderName,
};

use crate::{
    hetzner::{self, Hetzner},
    http::RequestLog,
};

/// A cloud that is known here.
pub struct Known {
    /// Its name.
    pub name: ProviderName,
    /// Its calls; or what is missing to use it, and where to get that.
    pub api: Result<Arc<dyn CloudApi>, ProviderError>,
}

/// What the environment holds.
pub struct Environment<'a> {
    /// Returns a variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
    /// Who is told of each request.
    pub log: Option<Arc<dyn RequestLog>>,
}

impl Environment<'_> {
    /// Returns a variable that is set and not empty.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }
}

/// Returns every cloud that is known, each with its calls when its credentials are there. Sends nothing.
pub fn from_environment(environment: &Environment<'_>) -> Vec<Known> {
    vec![known("hetzner", hetzner(environment))]
}

fn hetzner(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let Some(token) = environment.get("HCLOUD_TOKEN") else {
        return Err(missing(
            "hetzner",
            "HCLOUD_TOKEN is not set",
            hetzner::CREDENTIALS_HELP,
        ));
    };
    let access = hetzner::Access {
        token,
        endpoint: environment.get("HCLOUD_ENDPOINT"),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Hetzner::new(access)?))
}

fn known(name: &str, api: Result<Arc<dyn CloudApi>, ProviderError>) -> Known {
    Known {
        name: ProviderName::new(name).expect("it keeps to the rule"),
        api,
    }
}

fn missing(name: &str, cause: &str, help: &str) -> ProviderError {
    ProviderError {
        kind: ErrorKind::Unauthorized,
        provider: ProviderName::new(name).expect("it keeps to the rule"),
        operation: "be used".to_owned(),
        cause: cause.to_owned(),
        help: Some(help.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usable(variables: &[(&str, &str)]) -> Vec<String> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        };
        let known = from_environment(&Environment {
            variable: &variable,
            log: None,
        });
        known
            .into_iter()
            .filter(|known| known.api.is_ok())
            .map(|known| known.name.to_string())
            .collect()
    }

    #[test]
    fn a_cloud_is_usable_with_its_credentials() {
        assert_eq!(usable(&[]), Vec::<String>::new());
        assert_eq!(usable(&[("HCLOUD_TOKEN", " ")]), Vec::<String>::new());
        assert_eq!(usable(&[("HCLOUD_TOKEN", "t")]), ["hetzner"]);
        assert_eq!(
            usable(&[("HCLOUD_TOKEN", "t"), ("HCLOUD_ENDPOINT", "nowhere")]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let known = from_environment(&Environment {
            variable: &|_| None,
            log: None,
        });
        for known in known {
            let error = known.api.err().expect("nothing is set");
            assert!(
                error.help.is_some_and(|help| help.contains("HCLOUD_TOKEN")),
                "{}",
                error.cause
            );
        }
    }
}
