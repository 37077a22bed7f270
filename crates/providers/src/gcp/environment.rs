//! What of the environment Google Cloud takes.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use model::{cloud::CloudApi, error::ProviderError};

use super::convert::CREDENTIALS_HELP;
use super::{Access, DefaultCredentials, Gcp};
use crate::{
    environment::{Entry, Environment, missing},
    http::{Authorize, Bearer},
};

/// How it is made of the environment.
pub(crate) const ENTRY: Entry = Entry {
    name: "gcp",
    stand_ins: &[
        ("GOOGLE_OAUTH_ACCESS_TOKEN", "none"),
        ("GOOGLE_CLOUD_PROJECT", "none"),
    ],
    endpoint: &["CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"],
    configured: None,
    make,
};

/// The project is named in a variable, or in the key file of a service account. An instance of Google may have one of its own.
fn make(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let key_file = environment
        .get("GOOGLE_APPLICATION_CREDENTIALS")
        .map(PathBuf::from)
        .filter(|path| path.is_file());
    let token = environment.first(&["GOOGLE_OAUTH_ACCESS_TOKEN", "CLOUDSDK_AUTH_ACCESS_TOKEN"]);
    let has_login = environment
        .home_file(".config/gcloud/application_default_credentials.json")
        .is_some();
    let has_metadata =
        environment.get("GCE_METADATA_HOST").is_some() || environment.is_on("Google Compute Engine");
    let has_chain = key_file.is_some() || has_login || has_metadata;
    let authorize: Arc<dyn Authorize> = match token {
        Some(token) => Arc::new(Bearer::new(&token)),
        None if has_chain => Arc::new(DefaultCredentials::default()),
        None => {
            return Err(missing(
                "gcp",
                "no credentials of Google are here",
                CREDENTIALS_HELP,
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
    let access = Access {
        project,
        network: environment.get("TWOLANE_GCP_NETWORK"),
        subnetwork: environment.get("TWOLANE_GCP_SUBNETWORK"),
        authorize,
        endpoint: environment.first(ENTRY.endpoint),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Gcp::new(access)?))
}

fn project_of(key_file: &Path) -> Option<String> {
    let key: serde_json::Value = serde_json::from_slice(&std::fs::read(key_file).ok()?).ok()?;
    key.get("project_id")?.as_str().map(str::to_owned)
}
