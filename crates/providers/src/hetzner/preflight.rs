//! Says before a run whether Hetzner could provision a box.

use async_trait::async_trait;
use model::{
    cloud::CloudApi,
    error::ProviderError,
    lane::KvmNeed,
    world::{Finding, Preflight},
};

use super::{Hetzner, wire::ServerType};

#[async_trait]
impl Preflight for Hetzner {
    async fn preflight(&self, instance_type: &str, region: &str, need: KvmNeed) -> Vec<Finding> {
        let types = self
            .named::<ServerType>("server_types", instance_type, "look up the type")
            .await;
        let mut findings = vec![credentials(&types)];
        if let Ok(types) = &types {
            findings.push(stock(types, instance_type, region));
            findings.extend(types.first().and_then(|found| price(found, region)));
        }
        findings.push(kvm(self, instance_type, need));
        findings
    }
}

fn credentials(answer: &Result<Vec<ServerType>, ProviderError>) -> Finding {
    let what = "credentials".to_owned();
    match answer {
        // Whether the token may write shows only when something is written.
        Ok(_) => Finding {
            what,
            is_good: true,
            found: "the token of HCLOUD_TOKEN is accepted".to_owned(),
            help: None,
        },
        Err(error) => Finding {
            what,
            is_good: false,
            found: error.to_string(),
            help: error.help.clone(),
        },
    }
}

fn stock(types: &[ServerType], instance_type: &str, region: &str) -> Finding {
    let what = "type".to_owned();
    let Some(found) = types.iter().find(|found| found.name == instance_type) else {
        let help = Some("`hcloud server-type list` shows those that exist; the default is cx43".to_owned());
        return Finding {
            what,
            is_good: false,
            found: format!("Hetzner has no type {instance_type}"),
            help,
        };
    };
    let places: Vec<_> = found
        .locations
        .iter()
        .filter(|place| place.available != Some(false))
        .map(|place| place.name.as_str())
        .collect();
    if places.contains(&region) {
        return Finding {
            what,
            is_good: true,
            found: format!("{instance_type} is available in {region}"),
            help: None,
        };
    }
    let found = format!("{instance_type} is not available in {region} now");
    let help = match places.is_empty() {
        true => "it is sold out everywhere; try cpx42 or ccx23".to_owned(),
        false => format!("it is available in {}", places.join(", ")),
    };
    Finding {
        what,
        is_good: false,
        found,
        help: Some(help),
    }
}

fn price(found: &ServerType, region: &str) -> Option<Finding> {
    let price = found.prices.iter().find(|price| price.location == region)?;
    let amount = price.price_hourly.net.trim_end_matches('0').trim_end_matches('.');
    let found = format!("{amount} EUR an hour in {region}, without VAT; each begun hour counts");
    Some(Finding {
        what: "price".to_owned(),
        is_good: true,
        found,
        help: None,
    })
}

fn kvm(hetzner: &Hetzner, instance_type: &str, need: KvmNeed) -> Finding {
    let what = "kvm".to_owned();
    match hetzner.refuse(instance_type, need) {
        Some(refusal) => Finding {
            what,
            is_good: false,
            found: refusal.cause,
            help: refusal.help,
        },
        None => Finding {
            what,
            is_good: true,
            found: "none, and none is needed".to_owned(),
            help: None,
        },
    }
}
