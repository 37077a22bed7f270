//! What of the environment OVHcloud takes.

use std::sync::Arc;

use model::{cloud::CloudApi, error::ProviderError};

use super::convert::CREDENTIALS_HELP;
use super::{Access, NAME, Ovh};
use crate::environment::{Entry, Environment, missing};

/// How it is made of the environment.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    stand_ins: &[
        ("OVH_ENDPOINT", "ovh-eu"),
        ("OVH_APPLICATION_KEY", "none"),
        ("OVH_APPLICATION_SECRET", "none"),
        ("OVH_CONSUMER_KEY", "none"),
        ("OVH_CLOUD_PROJECT_SERVICE", "none"),
    ],
    // A name such as `ovh-eu` is the vendor's own.
    endpoint: &["OVH_ENDPOINT"],
    configured: None,
    make,
};

/// The names under which the project's id is looked for.
const PROJECT: [&str; 2] = ["OVH_CLOUD_PROJECT_SERVICE", "OVH_PROJECT_ID"];

fn make(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let keys = [
        "OVH_ENDPOINT",
        "OVH_APPLICATION_KEY",
        "OVH_APPLICATION_SECRET",
        "OVH_CONSUMER_KEY",
    ];
    let unset: Vec<&str> = keys
        .into_iter()
        .filter(|name| environment.get(name).is_none())
        .collect();
    if !unset.is_empty() {
        let are = if unset.len() == 1 { "is" } else { "are" };
        let cause = format!("{} {are} not set", unset.join(", "));
        return Err(missing(NAME, &cause, CREDENTIALS_HELP));
    }
    let Some(project) = environment.first(&PROJECT) else {
        let help = "set it to the project's id, 32 hexadecimal digits: the OVHcloud manager shows it under the project's name (Public Cloud)";
        return Err(missing(NAME, "OVH_CLOUD_PROJECT_SERVICE is not set", help));
    };
    let value = |name: &str| environment.get(name).unwrap_or_default();
    let access = Access {
        endpoint: value(keys[0]),
        application_key: value(keys[1]),
        application_secret: value(keys[2]),
        consumer_key: value(keys[3]),
        project,
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Ovh::new(access)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unset: &[&str], expected: &str) {
        let variable = |name: &str| {
            let known = ENTRY.stand_ins.iter().find(|(key, _)| *key == name);
            known
                .filter(|_| !unset.contains(&name))
                .map(|(_, value)| (*value).to_owned())
        };
        let environment = Environment {
            variable: &variable,
            machine: None,
            log: None,
        };
        let error = make(&environment).err().expect("something is missing");
        assert!(error.cause.starts_with(expected), "{}", error.cause);
        assert!(error.help.is_some());
    }

    #[test]
    fn each_variable_that_is_missing_is_named() {
        check(&["OVH_CONSUMER_KEY"], "OVH_CONSUMER_KEY is not set");
        check(
            &["OVH_ENDPOINT", "OVH_APPLICATION_SECRET"],
            "OVH_ENDPOINT, OVH_APPLICATION_SECRET are not set",
        );
        check(
            &["OVH_CLOUD_PROJECT_SERVICE"],
            "OVH_CLOUD_PROJECT_SERVICE is not set",
        );
    }
}
