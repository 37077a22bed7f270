//! What of the environment Latitude.sh takes.

use std::sync::Arc;

use model::{cloud::CloudApi, error::ProviderError};

use super::convert::CREDENTIALS_HELP;
use super::{Access, Latitude, NAME};
use crate::environment::{Entry, Environment, missing};

/// How it is made of the environment.
pub(crate) const ENTRY: Entry = Entry {
    name: NAME,
    stand_ins: &[("LATITUDESH_AUTH_TOKEN", "none")],
    endpoint: &["LATITUDESH_ENDPOINT"],
    configured: None,
    make,
};

/// The names under which the API key is looked for: those of the vendor's tools first.
const TOKEN: [&str; 3] = ["LATITUDESH_AUTH_TOKEN", "LATITUDESH_BEARER", "LATITUDE_API_TOKEN"];

fn make(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let Some(token) = environment.first(&TOKEN) else {
        return Err(missing(
            NAME,
            "LATITUDESH_AUTH_TOKEN is not set",
            CREDENTIALS_HELP,
        ));
    };
    let access = Access {
        token,
        project: environment
            .get("LATITUDESH_PROJECT")
            .map(|name| name.trim().to_owned()),
        endpoint: environment.first(ENTRY.endpoint),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Latitude::new(access)?))
}
