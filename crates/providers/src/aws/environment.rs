//! What of the environment AWS takes.

use std::{path::PathBuf, sync::Arc};

use model::{cloud::CloudApi, error::ProviderError, time::Timestamp};

use super::{Access, Aws, Identity, config_file::ConfigFile, convert::CREDENTIALS_HELP};
use crate::environment::{Entry, Environment, missing};

/// How it is made of the environment.
pub(crate) const ENTRY: Entry = Entry {
    name: "aws",
    stand_ins: &[("AWS_PROFILE", "none")],
    endpoint: &["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"],
    configured: Some(|environment| endpoint(environment, &ConfigFile::read(environment))),
    make,
};

/// An instance of EC2 may have a role.
fn make(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let variables = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_CONFIG_FILE",
        "AWS_SHARED_CREDENTIALS_FILE",
        // A token alone is no identity: a CI job may write one for whoever sets a role.
        "AWS_ROLE_ARN",
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
    let config = ConfigFile::read(environment);
    let ca_bundle = environment
        .get("AWS_CA_BUNDLE")
        .or_else(|| config.get("ca_bundle"));
    let ca_bundle = ca_bundle.map(PathBuf::from);
    let identity = Identity::default()
        .expiring(expiry(environment))
        .trusting(ca_bundle.clone());
    let access = Access {
        identity: Arc::new(identity),
        ca_bundle,
        region: environment
            .first(&["AWS_REGION", "AWS_DEFAULT_REGION"])
            .or_else(|| config.get("region")),
        group: environment.get("AWS_SG_ID"),
        subnet: environment.get("AWS_SUBNET_ID"),
        endpoint: endpoint(environment, &config),
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

/// Returns where EC2 answers, when that is not AWS: by AWS's own rules.
fn endpoint(environment: &Environment<'_>, config: &ConfigFile) -> Option<String> {
    let is_ignored = |value: String| value.trim().eq_ignore_ascii_case("true");
    let ignored = environment
        .get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
        .or_else(|| config.get("ignore_configured_endpoint_urls"));
    if ignored.is_some_and(is_ignored) {
        return None;
    }
    environment.first(ENTRY.endpoint).or_else(|| config.endpoint())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::with_variables;

    #[test]
    fn exported_credentials_say_when_they_expire() {
        let expiry = |variables: &[(&str, &str)]| {
            with_variables(variables, |environment| make(environment).unwrap().expiry())
        };
        let keys = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")];
        let expires = ("AWS_CREDENTIAL_EXPIRATION", "2026-11-27T09:00:00+00:00");
        assert_eq!(expiry(&[keys[0], keys[1]]), None);
        let found = expiry(&[keys[0], keys[1], expires]).unwrap();
        assert_eq!(found.to_string(), "2026-11-27T09:00:00Z");
        assert_eq!(
            expiry(&[("AWS_PROFILE", "p"), expires]),
            None,
            "a profile's are renewed"
        );
    }

    #[test]
    fn token_of_a_job_without_a_role_is_no_credential() {
        let access = |variables: &[(&str, &str)]| {
            with_variables(variables, |environment| {
                make(environment).map(|_| ()).map_err(|error| error.cause)
            })
        };
        let token = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/tmp/token");
        assert_eq!(access(&[token]), Err("no credentials of AWS are here".to_owned()));
        assert_eq!(
            access(&[token, ("AWS_ROLE_ARN", "arn:aws:iam::1:role/x")]),
            Ok(())
        );
    }

    #[test]
    fn variables_come_before_the_configuration_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "[default]\nregion = eu-west-1\n").unwrap();
        let region = |region: Option<&'static str>| {
            let file = ("AWS_CONFIG_FILE", file.path().to_str().unwrap());
            let named = region.map(|region| ("AWS_DEFAULT_REGION", region));
            let variables: Vec<_> = [file].into_iter().chain(named).collect();
            with_variables(&variables, |environment| {
                make(environment).unwrap().profile().choices[0].region.clone()
            })
        };
        assert_eq!(region(None), "eu-west-1");
        assert_eq!(region(Some("us-west-2")), "us-west-2");
    }

    #[test]
    fn variables_come_before_configured_endpoints_unless_all_are_ignored() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "[default]\nendpoint_url = https://file.example.com\n").unwrap();
        let endpoint = |set: &[(&str, &str)]| {
            let file = ("AWS_CONFIG_FILE", file.path().to_str().unwrap());
            with_variables(&[&[file], set].concat(), |environment| {
                endpoint(environment, &ConfigFile::read(environment))
            })
        };
        let all = ("AWS_ENDPOINT_URL", "https://all.example.com");
        let own = ("AWS_ENDPOINT_URL_EC2", "https://ec2.example.com");
        assert_eq!(endpoint(&[]).as_deref(), Some("https://file.example.com"));
        assert_eq!(endpoint(&[all]).as_deref(), Some(all.1));
        assert_eq!(endpoint(&[all, own]).as_deref(), Some(own.1));
        assert_eq!(
            endpoint(&[all, own, ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")]),
            None
        );
    }
}
