//! Says before a run whether Compute Engine could provision a box.

use async_trait::async_trait;
use futures::future::join_all;
use model::{
    cloud::CloudApi,
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    world::{Finding, Preflight},
};

use super::{
    Gcp,
    convert::last,
    series, split_place,
    wire::{MachineType, Quota, Region},
};
use crate::http::Request;

#[async_trait]
impl Preflight for Gcp {
    async fn preflight(&self, instance_type: &str, place: &str, need: KvmNeed) -> Vec<Finding> {
        let (region, zone) = split_place(place);
        let path = self.path(&format!("regions/{region}"));
        let quotas = self
            .client
            .json::<Region>(&Request::get(path, "look up the region"))
            .await;
        let mut findings = vec![credentials(self, &quotas)];
        if let Ok(found) = quotas {
            // Not every region has a zone `-a`, nor every zone every type.
            let of_region = found.zones.iter().map(|url| last(url).to_owned());
            let zones: Vec<_> = zone.map_or_else(|| of_region.collect(), |zone| vec![zone.to_owned()]);
            let looks = join_all(zones.iter().map(|zone| self.machine_type(zone, instance_type))).await;
            let mut looks = zones.into_iter().zip(looks);
            let first = looks.next().unwrap_or_else(|| {
                let cause = format!("the region {region} has no zone");
                (
                    region.to_owned(),
                    Err(self.error(ErrorKind::Invalid, "look up the type", cause)),
                )
            });
            let (zone, found_type) = match first.1 {
                Ok(_) => first,
                Err(_) => looks.find(|(_, look)| look.is_ok()).unwrap_or(first),
            };
            let cores = found_type.as_ref().ok().and_then(|found| found.guest_cpus);
            findings.push(type_there(&found_type, instance_type, &zone));
            findings.extend(cores.and_then(|cores| quota(&found.quotas, instance_type, cores)));
        }
        findings.push(kvm(self, instance_type, need));
        findings
    }
}

fn credentials(gcp: &Gcp, answer: &Result<Region, ProviderError>) -> Finding {
    let what = "credentials".to_owned();
    match answer {
        Ok(_) => {
            let found = format!("they are accepted for project {}", gcp.project);
            Finding {
                what,
                is_good: true,
                found,
                help: None,
            }
        }
        Err(error) => Finding {
            what,
            is_good: false,
            found: error.to_string(),
            help: error.help.clone(),
        },
    }
}

fn type_there(answer: &Result<MachineType, ProviderError>, instance_type: &str, zone: &str) -> Finding {
    let what = "type".to_owned();
    match answer {
        Ok(_) => Finding {
            what,
            is_good: true,
            found: format!("{instance_type} is offered in {zone}"),
            help: None,
        },
        Err(error) => {
            let help =
                format!("`gcloud compute machine-types list --zones {zone}` shows those that are offered");
            Finding {
                what,
                is_good: false,
                found: error.to_string(),
                help: Some(help),
            }
        }
    }
}

/// Looks at the quota of the type's series, else at that of all processors.
fn quota(quotas: &[Quota], instance_type: &str, cores: u32) -> Option<Finding> {
    let of_series = format!("{}_CPUS", series::series(instance_type).to_uppercase());
    let find = |metric: &str| quotas.iter().find(|quota| quota.metric == metric);
    let quota = find(&of_series).or_else(|| find("CPUS"))?;
    let left = quota.limit - quota.usage;
    let is_good = left >= f64::from(cores);
    let found = format!(
        "{left} of {} {} are free, and the type has {cores}",
        quota.limit, quota.metric
    );
    let help =
        (!is_good).then(|| "ask for more quota in the Google console, or use another region".to_owned());
    Some(Finding {
        what: "quota".to_owned(),
        is_good,
        found,
        help,
    })
}

fn kvm(gcp: &Gcp, instance_type: &str, need: KvmNeed) -> Finding {
    let what = "kvm".to_owned();
    if let Some(refusal) = gcp.refuse(instance_type, need) {
        return Finding {
            what,
            is_good: false,
            found: refusal.cause,
            help: refusal.help,
        };
    }
    let found = match (need.is_needed(), series::is_metal(instance_type)) {
        (false, _) => "none is needed",
        (true, true) => "bare metal",
        (true, false) => {
            "nested virtualisation is switched on with the box; an organisation's policy may forbid it"
        }
    };
    Finding {
        what,
        is_good: true,
        found: found.to_owned(),
        help: None,
    }
}
