//! Says before a run whether OVHcloud could provision a box.

use async_trait::async_trait;
use model::{
    cloud::CloudApi,
    error::ProviderError,
    lane::KvmNeed,
    world::{Finding, Preflight, Prices},
};

use super::{
    NAME, Ovh,
    wire::{Credential, Project},
};
use crate::{http::Request, kvm};

#[async_trait]
impl Preflight for Ovh {
    async fn preflight(&self, instance_type: &str, region: &str, need: KvmNeed) -> Vec<Finding> {
        let request = Request::get("/auth/currentCredential", "look at its credentials");
        let credential = self.json::<Credential>(&request).await;
        let mut findings = vec![credentials(&credential)];
        if credential.is_ok() {
            let path = format!("/cloud/project/{}", self.project);
            let asked = self
                .json::<Project>(&Request::get(path, "look at the project"))
                .await;
            let is_there = asked.is_ok();
            findings.push(project(&self.project, &asked));
            if is_there {
                findings.push(self.stock(instance_type, region).await);
            }
        }
        findings.extend(self.price(instance_type, region));
        findings.push(self.kvm(instance_type, need));
        findings.push(good(
            "firewall",
            "OVHcloud has none for these boxes: the box sets up nftables itself before its SSH server starts"
                .to_owned(),
        ));
        findings
    }
}

impl Ovh {
    async fn stock(&self, instance_type: &str, region: &str) -> Finding {
        match self.flavor(instance_type, region).await {
            Ok(flavor) => good(
                "type",
                format!(
                    "{instance_type} is available in {region}; the quota allows {} more",
                    flavor.quota
                ),
            ),
            Err(error) => bad("type", &error),
        }
    }

    fn price(&self, instance_type: &str, region: &str) -> Option<Finding> {
        let (amount, day) = self.hourly(instance_type, region).filter(|_| self.is_europe)?;
        let found =
            format!("{amount} an hour in {region} ({day}), without VAT; each begun clock hour counts");
        Some(good("price", found))
    }

    fn kvm(&self, instance_type: &str, need: KvmNeed) -> Finding {
        match self.refuse(instance_type, need) {
            Some(refusal) => bad("kvm", &refusal),
            None if !need.is_needed() => good("kvm", "none is needed".to_owned()),
            None => good("kvm", kvm::said_of(NAME, instance_type)),
        }
    }
}

fn credentials(answer: &Result<Credential, ProviderError>) -> Finding {
    match answer {
        Ok(credential) if credential.status == "validated" => {
            let until = match &credential.expiration {
                Some(moment) => format!(" until {moment}"),
                None => String::new(),
            };
            good("credentials", format!("OVH_CONSUMER_KEY is accepted{until}"))
        }
        Ok(credential) => Finding {
            what: "credentials".to_owned(),
            is_good: false,
            found: format!("OVH_CONSUMER_KEY is {}", credential.status),
            help: Some(super::convert::CREDENTIALS_HELP.to_owned()),
        },
        Err(error) => bad("credentials", error),
    }
}

fn project(id: &str, answer: &Result<Project, ProviderError>) -> Finding {
    match answer {
        Ok(project) if project.status == "ok" => {
            let name = project.description.as_deref().unwrap_or("without a name");
            good("project", format!("{id} ({name})"))
        }
        Ok(project) => Finding {
            what: "project".to_owned(),
            is_good: false,
            found: format!("{id} is {}", project.status),
            help: Some(
                "see to it in the OVHcloud manager, or set OVH_CLOUD_PROJECT_SERVICE to another".to_owned(),
            ),
        },
        Err(error) => bad("project", error),
    }
}

fn good(what: &str, found: String) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good: true,
        found,
        help: None,
    }
}

fn bad(what: &str, error: &ProviderError) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good: false,
        found: error.to_string(),
        help: error.help.clone(),
    }
}
