//! What of the environment AWS takes.

use std::sync::Arc;

use model::{cloud::CloudApi, error::ProviderError};

use super::{Access, Aws, CREDENTIALS_HELP, Identity};
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
        identity: Arc::new(Identity::default()),
        region: environment.first(&["AWS_REGION", "AWS_DEFAULT_REGION"]),
        group: environment.get("AWS_SG_ID"),
        subnet: environment.get("AWS_SUBNET_ID"),
        endpoint: environment.first(ENTRY.endpoint),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Aws::new(access)?))
}
