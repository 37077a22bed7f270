//! The providers that are known on this machine.

use std::{collections::BTreeMap, sync::Arc};

use model::{error::ProviderError, name::ProviderName, world::Provider};

use crate::problem::{Problem, Result};

/// A provider that is known here.
pub(crate) struct KnownProvider {
    /// It. While something is missing it is only to be looked at: its defaults, its prices, what it can do.
    pub(crate) provider: Arc<dyn Provider>,
    /// What is missing to use it, and where to get that.
    pub(crate) missing: Option<ProviderError>,
}

/// All providers that are known here, by name.
pub(crate) type Providers = BTreeMap<ProviderName, KnownProvider>;

/// Returns those that can be used.
pub(crate) fn usable(providers: &Providers) -> BTreeMap<ProviderName, Arc<dyn Provider>> {
    let usable = providers.iter().filter(|(_, known)| known.missing.is_none());
    usable
        .map(|(name, known)| (name.clone(), known.provider.clone()))
        .collect()
}

/// Returns the provider of that name.
pub(crate) fn named<'a>(providers: &'a Providers, name: &str) -> Result<&'a KnownProvider> {
    let found = providers.iter().find(|(known, _)| known.as_str() == name);
    found.map(|(_, known)| known).ok_or_else(|| {
        let names: Vec<&str> = providers.keys().map(ProviderName::as_str).collect();
        Problem::usage(format!("could not find the provider `{name}`"))
            .because("there is none of that name")
            .help(format!("the providers are: {}", names.join(", ")))
    })
}

/// Returns this machine among the providers.
pub(crate) fn local(providers: &Providers) -> Option<&dyn Provider> {
    let mut known = providers.iter();
    let (_, known) = known.find(|(name, _)| name.as_str() == ::providers::local::NAME)?;
    Some(known.provider.as_ref())
}
