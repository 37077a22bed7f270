//! Which clouds can be used with what the environment holds.

use std::{path::PathBuf, sync::Arc};

use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    name::ProviderName,
};

use crate::{
    aws::{self, Aws, Identity},
    gcp::{self, DefaultCredentials, Gcp},
    hetzner::{self, Hetzner},
    http::{Authorize, Bearer, RequestLog},
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
    fn get(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.trim().is_empty())
    }

    /// Returns the first of these variables that is set and not empty.
    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| self.get(name))
    }

    /// Returns a file in the user's home, if it is there.
    fn home_file(&self, path: &str) -> Option<PathBuf> {
        Some(PathBuf::from(self.get("HOME")?).join(path)).filter(|path| path.is_file())
    }
}

/// Returns every cloud that is known, each with its calls when its credentials are there. Sends nothing.
pub fn from_environment(environment: &Environment<'_>) -> Vec<Known> {
    vec![
        known("hetzner", hetzner(environment)),
        known("gcp", gcp(environment)),
        known("aws", aws(environment)),
    ]
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

/// The project is named in a variable, or in the key file of a service account.
fn gcp(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let key_file = environment
        .get("GOOGLE_APPLICATION_CREDENTIALS")
        .map(PathBuf::from)
        .filter(|path| path.is_file());
    let token = environment.first(&["GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"]);
    let has_login = environment
        .home_file(".config/gcloud/application_default_credentials.json")
        .is_some();
    let has_chain = key_file.is_some() || has_login || environment.get("GCE_METADATA_HOST").is_some();
    let authorize: Arc<dyn Authorize> = match token {
        Some(token) => Arc::new(Bearer::new(&token)),
        None if has_chain => Arc::new(DefaultCredentials::default()),
        None => {
            return Err(missing(
                "gcp",
                "no credentials of Google are here",
                gcp::CREDENTIALS_HELP,
            ));
        }
    };
    let variables = ["GOOGLE_CLOUD_PROJECT", "CLOUDSDK_CORE_PROJECT", "GCLOUD_PROJECT"];
    let project = environment.first(&variables).or_else(|| project_of(&key_file?));
    let Some(project) = project else {
        return Err(missing(
            "gcp",
            "no project of Google is named",
            "set GOOGLE_CLOUD_PROJECT to the project's id",
        ));
    };
    let access = gcp::Access {
        project,
        network: environment.get("TWOLANE_GCP_NETWORK"),
        authorize,
        endpoint: environment.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Gcp::new(access)?))
}

fn project_of(key_file: &std::path::Path) -> Option<String> {
    let key: serde_json::Value = serde_json::from_slice(&std::fs::read(key_file).ok()?).ok()?;
    key.get("project_id")?.as_str().map(str::to_owned)
}

fn aws(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let variables = [
        "AWS_ACCESS_KEY_ID",
        "AWS_PROFILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    ];
    let files = [".aws/credentials", ".aws/config"];
    let has_file = files
        .into_iter()
        .any(|file| environment.home_file(file).is_some());
    if environment.first(&variables).is_none() && !has_file && !is_instance() {
        return Err(missing(
            "aws",
            "no credentials of AWS are here",
            aws::CREDENTIALS_HELP,
        ));
    }
    if environment.get("AWS_ACCESS_KEY_ID").is_some() != environment.get("AWS_SECRET_ACCESS_KEY").is_some() {
        let cause = "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set";
        return Err(missing("aws", cause, aws::CREDENTIALS_HELP));
    }
    let access = aws::Access {
        identity: Arc::new(Identity::default()),
        region: environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
        group: environment.get("AWS_SG_ID"),
        subnet: environment.get("AWS_SUBNET_ID"),
        endpoint: environment.first(&["AWS_ENDPOINT_URL_EC2", "AWS_ENDPOINT_URL"]),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Aws::new(access)?))
}

/// Tells whether this machine is an instance of EC2, which may have a role.
fn is_instance() -> bool {
    let vendor = std::fs::read_to_string("/sys/devices/virtual/dmi/id/sys_vendor");
    vendor.is_ok_and(|vendor| vendor.trim() == "Amazon EC2")
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
    fn the_project_stands_in_a_service_accounts_key() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, r#"{"type": "service_account", "project_id": "acme-ci"}"#).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(usable(&[("GOOGLE_APPLICATION_CREDENTIALS", path)]), ["gcp"]);
        assert_eq!(project_of(file.path()).as_deref(), Some("acme-ci"));
    }

    #[test]
    fn what_is_missing_is_named() {
        let known = from_environment(&Environment {
            variable: &|_| None,
            log: None,
        });
        for (known, variable) in
            known
                .into_iter()
                .zip(["HCLOUD_TOKEN", "GOOGLE_CLOUD_PROJECT", "AWS_PROFILE"])
        {
            let error = known.api.err().expect("nothing is set");
            assert!(
                error.help.is_some_and(|help| help.contains(variable)),
                "{}",
                error.cause
            );
        }
    }
}
