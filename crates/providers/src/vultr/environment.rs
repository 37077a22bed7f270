//! What of the environment Vultr takes.

use std::sync::Arc;

use model::{cloud::CloudApi, error::ProviderError};

use super::convert::CREDENTIALS_HELP;
use super::{Access, Vultr};
use crate::environment::{Entry, Environment, missing};

/// How it is made of the environment.
pub(crate) const ENTRY: Entry = Entry {
    name: "vultr",
    stand_ins: &[("VULTR_API_KEY", "none")],
    endpoint: &["VULTR_API_ENDPOINT"],
    configured: None,
    make,
};

fn make(environment: &Environment<'_>) -> Result<Arc<dyn CloudApi>, ProviderError> {
    let Some(token) = environment.get("VULTR_API_KEY") else {
        return Err(missing("vultr", "VULTR_API_KEY is not set", CREDENTIALS_HELP));
    };
    let access = Access {
        token,
        endpoint: environment.first(ENTRY.endpoint),
        log: environment.log.clone(),
        time_max: None,
    };
    Ok(Arc::new(Vultr::new(access)?))
}
