//! What of the environment AWS takes.

use std::{fs, path::PathBuf, sync::Arc};

use model::{cloud::CloudApi, error::ProviderError, time::Timestamp};

use super::{Access, Aws, Identity};
use super::convert::CREDENTIALS_HELP;
use crate::environment::{Entry, Environment, missing};

/// How it is made of the environment.
pub(crate) const ENTRY: Entry = Entry {
    name: "aws",
    stand_ins: &[("AWS_PROFILE", "none")],
    endpoint: &["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"],
    make,
};

/// An instance of EC2 may have a role.
fn make(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let variables = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    ];
    let files = [".aws/credentials", ".aws/config"];
    let has_file = files
        .into_iter()
        .any(|file| environment.home_file(file).is_some());
    if environment.first(&variables).is_none() && !has_file && !environment.is_on("Amazon EC2") {
        return Err(missing("aws", "no credentials of AWS are here", CREDENTIALS_HELP));
    }
    if environment.get("AWS_ACCESS_KEY_ID").is_some() != environment.get("AWS_SECRET_ACCESS_KEY").is_some() {
        let cause = "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set";
        return Err(missing("aws", cause, CREDENTIALS_HELP));
    }
    let access = Access {
        identity: Arc::new(Identity::default().expiring(expiry(environment))),
        region: environment
            .first(&["AWS_REGION", "AWS_DEFAULT_REGION"])
            .or_else(|| region_of_profile(environment)),
        group: environment.get("AWS_SG_ID"),
        subnet: environment.get("AWS_SUBNET_ID"),
        endpoint: environment.first(ENTRY.endpoint),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Aws::new(access)?))
}

/// Returns when credentials expire that were exported, as `aws configure export-credentials --format env` writes it. Those
/// of the other ways are renewed.
fn expiry(environment: &Environment<'_>) -> Option<Timestamp> {
    environment.get("AWS_ACCESS_KEY_ID")?;
    let text = environment.first(&["AWS_CREDENTIAL_EXPIRATION", "AWS_SESSION_EXPIRATION"])?;
    text.trim().parse().ok()
}

/// Returns the region that the chosen profile names in the configuration file.
fn region_of_profile(environment: &Environment<'_>) -> Option<String> {
    let named = environment.get("AWS_CONFIG_FILE").map(PathBuf::from);
    let file = named.or_else(|| environment.home_file(".aws/config"))?;
    let profile = environment.first(&["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]);
    region_in(&fs::read_to_string(file).ok()?, profile.as_deref().unwrap_or("default"))
}

fn region_in(text: &str, profile: &str) -> Option<String> {
    let mut is_in_it = false;
    for line in text.lines().map(str::trim) {
        let section = line.strip_prefix('[').and_then(|line| line.split(']').next());
        if let Some(section) = section.map(str::trim) {
            let name = section.strip_prefix("profile ").map(str::trim);
            is_in_it = name == Some(profile) || (section == "default" && profile == "default");
        } else if is_in_it
            && let Some((key, value)) = line.split_once('=')
            && key.trim() == "region"
        {
            return Some(value.trim().to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_comes_from_the_chosen_profile() {
        let text = "[default]\nregion = eu-west-1\n[profile ci]\noutput = json\nregion=us-west-2\n[sso-session ci]\nregion = x\n";
        assert_eq!(region_in(text, "default").as_deref(), Some("eu-west-1"));
        assert_eq!(region_in(text, "ci").as_deref(), Some("us-west-2"));
        assert_eq!(region_in(text, "other"), None);
    }

    #[test]
    fn exported_credentials_say_when_they_expire() {
        let expiry = |variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            let environment = Environment {
                variable: &variable,
                machine: None,
                log: None,
            };
            make(&environment).unwrap().expiry()
        };
        let keys = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let expires = ("AWS_CREDENTIAL_EXPIRATION", "2026-11-27T09:00:00+00:00");
        assert_eq!(expiry(&[keys[0], keys[1]]), None);
        let found = expiry(&[keys[0], keys[1], expires]).unwrap();
        assert_eq!(found.to_string(), "2026-11-27T09:00:00Z");
        assert_eq!(expiry(&[("AWS_PROFILE", "p"), expires]), None, "a profile's are renewed");
    }

    #[test]
    fn variables_come_before_the_configuration_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "[default]\nregion = eu-west-1\n").unwrap();
        let region = |region: Option<&str>| {
            let variable = |name: &str| match name {
                "AWS_CONFIG_FILE" => Some(file.path().to_str().unwrap().to_owned()),
                "AWS_DEFAULT_REGION" => region.map(str::to_owned),
                _ => None,
            };
            let environment = Environment {
                variable: &variable,
                machine: None,
                log: None,
            };
            make(&environment).unwrap().profile().choices[0].region.clone()
        };
        assert_eq!(region(None), "eu-west-1");
        assert_eq!(region(Some("us-west-2")), "us-west-2");
    }
}
