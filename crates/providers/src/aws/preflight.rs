//! Says before a run whether EC2 could provision a box.

use async_trait::async_trait;
use model::{
    error::ProviderError,
    lane::KvmNeed,
    world::{Finding, Preflight},
};

use super::{
    Aws,
    convert::{self, Kvm},
    split_place,
    wire::{InstanceType, InstanceTypes, Offerings, Params},
};

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
            findings.push(self.kvm_finding(region, found, need).await);
        }
        findings
    }
}

impl Aws {
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
