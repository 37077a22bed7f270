//! What of the environment Hetzner Cloud takes.

use std::sync::Arc;

use model::{cloud::CloudApi, error::ProviderError};

use super::convert::CREDENTIALS_HELP;
use super::{Access, Hetzner};
use crate::environment::{Entry, Environment, missing};

/// How it is made of the environment.
pub(crate) const ENTRY: Entry = Entry {
    name: "hetzner",
    stand_ins: &[("HCLOUD_TOKEN", "none")],
    endpoint: &["HCLOUD_ENDPOINT"],
    configured: None,
    make,
};

fn make(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let Some(token) = environment.get("HCLOUD_TOKEN") else {
        return Err(missing("hetzner", "HCLOUD_TOKEN is not set", CREDENTIALS_HELP));
    };
    let access = Access {
        token,
        endpoint: environment.first(ENTRY.endpoint),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Hetzner::new(access)?))
}
