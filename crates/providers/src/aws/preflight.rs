//! Says before a run whether EC2 could provision a box.

use async_trait::async_trait;
use futures::future::join3;
use model::{
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    tags::OURS,
    world::{Finding, Preflight},
};
use reqwest::Method;
use serde_json::json;

use super::{
    Aws,
    convert::{self, Kvm},
    split_place,
    wire::{Done, InstanceType, InstanceTypes, Offerings, Params, ServiceQuota},
};
use crate::http::{Body, Effect, Request};

/// What Service Quotas calls the vCPUs of running on-demand instances of the families A, C, D, H, I, M, R, T and Z.
const STANDARD_VCPUS: &str = "L-1216C47A";

#[async_trait]
impl Preflight for Aws {
    async fn preflight(&self, instance_type: &str, place: &str, need: KvmNeed) -> Vec<Finding> {
        let (region, _) = split_place(place);
        let params = Params::new("DescribeInstanceTypes").filter("instance-type", &[instance_type]);
        let types = self
            .all::<InstanceTypes>(region, "look up the type", params)
            .await;
        let mut findings = vec![credentials(&types)];
        let Ok(types) = types else { return findings };
        let offerings = Params::new("DescribeInstanceTypeOfferings").set("LocationType", "availability-zone");
        let offerings = offerings.filter("instance-type", &[instance_type]);
        let zones = self
            .all::<Offerings>(region, "look up the zones", offerings)
            .await
            .unwrap_or_default();
        findings.push(type_there(instance_type, region, zones.len()));
        if let Some(found) = types.first() {
            let (kvm, quota, permission) = join3(
                self.kvm_finding(region, found, need),
                self.quota(region, found),
                self.permission(region, found),
            )
            .await;
            findings.push(kvm);
            findings.extend(quota);
            findings.push(permission);
        }
        findings
    }
}

impl Aws {
    /// Compares the account's quota with the type. What others of the account use of it is not counted.
    async fn quota(&self, region: &str, found: &InstanceType) -> Option<Finding> {
        const WHAT: &str = "look up the quota";
        if !is_standard(&found.instance_type) {
            return None;
        }
        let mut request = Request::new(Method::POST, "/", WHAT);
        request.body = Body::Target(
            "ServiceQuotasV20190624.GetServiceQuota",
            json!({"ServiceCode": "ec2", "QuotaCode": STANDARD_VCPUS}),
        );
        let answer = match self.client_of("servicequotas", region) {
            Ok(client) => client.json::<ServiceQuota>(&request).await,
            Err(error) => Err(error),
        };
        let cores = found.v_cpu_info.default;
        let (is_good, found) = match answer {
            Ok(answer) => {
                let limit = answer.quota.value;
                (
                    limit >= f64::from(cores),
                    format!("{region} grants {limit} vCPUs at once, and the type has {cores}"),
                )
            }
            // Who may not ask may still create.
            Err(error) => (true, format!("not known: {error}")),
        };
        let help =
            "ask for more `Running On-Demand Standard instances` in Service Quotas, or use another region";
        Some(Finding {
            what: "quota".to_owned(),
            is_good,
            found,
            help: (!is_good).then(|| help.to_owned()),
        })
    }

    /// Asks whether the credentials may create a box, with a request that EC2 checks and does not carry out.
    async fn permission(&self, region: &str, found: &InstanceType) -> Finding {
        let finding = |is_good, found, help| Finding {
            what: "permission".to_owned(),
            is_good,
            found,
            help,
        };
        let image = match self.image(region, None, found).await {
            Ok(image) => image,
            Err(error) => return finding(false, error.to_string(), error.help),
        };
        let mut instance = Params::new("RunInstances")
            .set("MinCount", 1)
            .set("MaxCount", 1)
            .set("ImageId", image.image_id)
            .set("InstanceType", &found.instance_type)
            // A policy may ask for them.
            .set("TagSpecification.1.ResourceType", "instance")
            .set("TagSpecification.1.Tag.1.Key", OURS)
            .set("TagSpecification.1.Tag.1.Value", "true");
        if let Some(subnet) = &self.access.subnet {
            instance = instance.set("SubnetId", subnet);
        }
        let group = Params::new("CreateSecurityGroup")
            .set("GroupName", "mvm-ephemeral-ssh")
            .set("GroupDescription", "never made: twolane asks whether it may");
        let needs_group = self.access.group.is_none();
        for (what, params) in [
            ("a box", Some(instance)),
            ("its firewall", needs_group.then_some(group)),
        ] {
            let Some(params) = params else { continue };
            let Err(error) = self.dry_run(region, params).await else {
                continue;
            };
            match error.kind {
                ErrorKind::Unauthorized => {
                    return finding(false, format!("for {what}: {}", error.cause), error.help);
                }
                // A subnet that a candidate names may be what is missing here.
                _ => return finding(true, format!("not known for {what}: {}", error.cause), None),
            }
        }
        let found = if needs_group {
            "the credentials may create a box and its firewall"
        } else {
            "the credentials may create a box"
        };
        finding(true, found.to_owned(), None)
    }

    /// Sends a request that EC2 checks and does not carry out: what it would grant, it refuses with a code of its own.
    async fn dry_run(&self, region: &str, params: Params) -> Result<(), ProviderError> {
        let params = params.set("DryRun", true);
        let answer = self.call::<Done>(region, "ask for a permission", params, Effect::Repeatable);
        match answer.await {
            Err(error) if !error.cause.contains("(DryRunOperation,") => Err(error),
            _ => Ok(()),
        }
    }

    async fn kvm_finding(&self, region: &str, found: &InstanceType, need: KvmNeed) -> Finding {
        let what = "kvm".to_owned();
        if let Err(refusal) = self.check_kvm(region, found, need).await {
            return Finding {
                what,
                is_good: false,
                found: refusal.cause,
                help: refusal.help,
            };
        }
        let found = match (need.is_needed(), convert::kvm(found)) {
            (false, _) => "none is needed",
            (true, Kvm::Metal) => "bare metal",
            (true, Kvm::Nested | Kvm::None) => "the type can nest; it is switched on with the box",
        };
        Finding {
            what,
            is_good: true,
            found: found.to_owned(),
            help: None,
        }
    }
}

fn credentials(answer: &Result<Vec<InstanceType>, ProviderError>) -> Finding {
    let what = "credentials".to_owned();
    match answer {
        // Whether a box may be made shows only when one is.
        Ok(_) => Finding {
            what,
            is_good: true,
            found: "they are accepted for reading".to_owned(),
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

fn type_there(instance_type: &str, region: &str, zones: usize) -> Finding {
    let help =
        format!("`aws ec2 describe-instance-type-offerings --region {region}` shows those that are sold");
    Finding {
        what: "type".to_owned(),
        is_good: zones > 0,
        found: format!("{instance_type} is sold in {zones} zones of {region}"),
        help: (zones == 0).then_some(help),
    }
}

/// Returns whether the vCPUs of a type count among the standard ones.
fn is_standard(instance_type: &str) -> bool {
    let family = instance_type
        .split(|c: char| c.is_ascii_digit())
        .next()
        .unwrap_or_default();
    !["dl", "hpc", "inf", "mac", "trn"].contains(&family) && family.starts_with(|c| "acdhimrtz".contains(c))
}
