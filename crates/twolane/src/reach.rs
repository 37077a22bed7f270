//! Who may reach the boxes over SSH: where nobody is named, this machine alone, by its address as the outside sees it.

use std::env;

use ::providers::address;
use model::{
    name::ProviderName,
    plan::{self, Plan},
};

use crate::{
    known::Providers,
    problem::{Problem, Result},
    world::block_on,
};

/// Returns the service that reports this machine's address.
pub(crate) fn service() -> String {
    env::var("TWOLANE_ADDRESS_SERVICE")
        .ok()
        .filter(|service| !service.trim().is_empty())
        .unwrap_or_else(|| address::SERVICE.to_owned())
}

/// Returns whether this machine's address has to be asked for before the plan is carried out.
pub(crate) fn is_asked_for(plan: &Plan, providers: &Providers) -> bool {
    let has_own_network = |name: &ProviderName| {
        let known = providers.get(name);
        known.is_some_and(|known| known.provider.profile().has_own_network)
    };
    plan::needs_address(plan, &has_own_network)
}

/// Writes into the plan who may reach its boxes.
pub(crate) fn settle(plan: &mut Plan, providers: &Providers) -> Result<()> {
    if !is_asked_for(plan, providers) {
        return Ok(());
    }
    let service = service();
    let answer = block_on(async { address::ask(&service).await.map_err(unknown) })?;
    let range = plan::range_of_answer(&answer).map_err(|why| unknown(format!("{service}: {why}")))?;
    plan.allow = vec![range];
    Ok(())
}

/// Nobody is let in by guess.
fn unknown(why: String) -> Problem {
    Problem::usage("could not find out from which address this machine reaches its boxes")
        .because(why)
        .help(
            "name it: --allow-cidr ADDRESS/32, or TWOLANE_ALLOW_CIDR; or set TWOLANE_ADDRESS_SERVICE to the URL of \
             another service that answers with the caller's IPv4 address",
        )
}
