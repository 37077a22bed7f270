//! Says before a run whether Azure could provision a box.

use async_trait::async_trait;
use futures::future::{join, join3};
use model::{
    cloud::CloudApi,
    error::ProviderError,
    lane::KvmNeed,
    world::{Finding, Preflight},
};

use super::{
    Azure, COMPUTE, RESOURCES, SKUS, sizes,
    wire::{Namespace, Sku, Usage},
};
use crate::http::Request;

/// How many sizes are named when one cannot be had.
const NAMED_MAX: usize = 4;

#[async_trait]
impl Preflight for Azure {
    async fn preflight(&self, instance_type: &str, region: &str, need: KvmNeed) -> Vec<Finding> {
        let (compute, network, schedules) = join3(
            self.namespace("Microsoft.Compute"),
            self.namespace("Microsoft.Network"),
            self.namespace("Microsoft.DevTestLab"),
        )
        .await;
        let mut findings = vec![credentials(self, &compute)];
        if compute.is_ok() {
            let namespaces = [
                ("Microsoft.Compute", &compute),
                ("Microsoft.Network", &network),
                ("Microsoft.DevTestLab", &schedules),
            ];
            findings.extend(
                namespaces
                    .into_iter()
                    .filter_map(|(name, answer)| registered(name, answer)),
            );
            let skus = Request::get(self.path("providers/Microsoft.Compute/skus"), "look up the size")
                .query("api-version", SKUS)
                .query("$filter", format!("location eq '{region}'"));
            let usages = format!("providers/Microsoft.Compute/locations/{region}/usages");
            let usages = Request::get(self.path(&usages), "look up the quota").query("api-version", COMPUTE);
            let (skus, usages) = join(self.all::<Sku>(skus), self.all::<Usage>(usages)).await;
            findings.push(sold(&skus, instance_type, region));
            let is_meant = |sku: &&Sku| sku.name.eq_ignore_ascii_case(instance_type);
            let size = skus.iter().flatten().find(is_meant);
            findings.extend(size.map(|size| quota(&usages, size)).unwrap_or_default());
        }
        findings.push(kvm(self, instance_type, need));
        findings
    }
}

impl Azure {
    async fn namespace(&self, name: &str) -> Result<Namespace, ProviderError> {
        let path = self.path(&format!("providers/{name}"));
        let request = Request::get(path, "look at the subscription").query("api-version", RESOURCES);
        self.client.json(&request).await
    }
}

fn finding(what: &str, is_good: bool, found: String, help: Option<String>) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good,
        found,
        help,
    }
}

fn credentials(azure: &Azure, answer: &Result<Namespace, ProviderError>) -> Finding {
    match answer {
        // Whether the identity may make groups shows only when one is made.
        Ok(_) => {
            let found = format!("they are accepted for subscription {}", azure.subscription);
            finding("credentials", true, found, None)
        }
        Err(error) => finding("credentials", false, error.to_string(), error.help.clone()),
    }
}

fn registered(name: &str, answer: &Result<Namespace, ProviderError>) -> Option<Finding> {
    let state = match answer {
        Ok(namespace) => namespace.registration_state.clone().unwrap_or_default(),
        Err(error) => {
            return Some(finding(
                "subscription",
                false,
                error.to_string(),
                error.help.clone(),
            ));
        }
    };
    if state == "Registered" {
        return None;
    }
    let help = Some(format!("run `az provider register --namespace {name}`"));
    let found = format!("{name} is {state} in the subscription");
    Some(finding("subscription", false, found, help))
}

/// Returns whether the subscription may have a size in the whole region.
fn is_free(sku: &Sku) -> bool {
    sku.resource_type == "virtualMachines" && !sku.restrictions.iter().any(|limit| limit.of == "Location")
}

fn sold(skus: &Result<Vec<Sku>, ProviderError>, size: &str, region: &str) -> Finding {
    let skus = match skus {
        Ok(skus) => skus,
        Err(error) => return finding("type", false, error.to_string(), error.help.clone()),
    };
    let found = skus.iter().find(|sku| sku.name.eq_ignore_ascii_case(size));
    if found.is_some_and(is_free) {
        return finding("type", true, format!("{size} is offered in {region}"), None);
    }
    let why = match found {
        None => format!("{size} is not sold in {region}"),
        Some(sku) => {
            let reasons = sku.restrictions.iter().map(|limit| limit.reason_code.as_str());
            let reasons = reasons.collect::<Vec<_>>().join(", ");
            format!("{size} is not available in {region} with this subscription ({reasons})")
        }
    };
    let others: Vec<_> = skus
        .iter()
        .filter(|sku| is_free(sku) && sizes::why_not(&sku.name, KvmNeed::Required).is_none())
        .map(|sku| sku.name.as_str())
        .take(NAMED_MAX)
        .collect();
    let help = match others.is_empty() {
        true => format!("`az vm list-skus --location {region}` shows what it has; or use another region"),
        false => format!("with nested KVM it has {}", others.join(", ")),
    };
    finding("type", false, why, Some(help))
}

/// Looks at the quota of the size's family, and at that of all processors in the region.
fn quota(usages: &Result<Vec<Usage>, ProviderError>, size: &Sku) -> Vec<Finding> {
    let usages = match usages {
        Ok(usages) => usages,
        Err(error) => return vec![finding("quota", false, error.to_string(), error.help.clone())],
    };
    let cores = size.capabilities.iter().find(|known| known.name == "vCPUs");
    let cores: i64 = cores.and_then(|known| known.value.parse().ok()).unwrap_or(1);
    let of = |name: &str| {
        let usage = usages
            .iter()
            .find(|usage| usage.name.value.eq_ignore_ascii_case(name))?;
        let left = usage.limit - usage.current_value;
        let found = format!(
            "{left} of {} cores of {} are free, and the size has {cores}",
            usage.limit, usage.name.value
        );
        let is_good = left >= cores;
        let help = "ask for more in the Azure portal (Usage + quotas), or use another size or region";
        Some(finding(
            "quota",
            is_good,
            found,
            (!is_good).then(|| help.to_owned()),
        ))
    };
    [of(&size.family), of("cores")].into_iter().flatten().collect()
}

fn kvm(azure: &Azure, size: &str, need: KvmNeed) -> Finding {
    if let Some(refusal) = azure.refuse(size, need) {
        return finding("kvm", false, refusal.cause, refusal.help);
    }
    let found = match need.is_needed() {
        false => "none is needed",
        true => {
            "nested virtualisation was seen on all sizes of this family, with security type Standard, which is asked for"
        }
    };
    finding("kvm", true, found.to_owned(), None)
}
