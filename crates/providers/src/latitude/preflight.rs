//! Says before a run whether Latitude.sh could provision a box.

use async_trait::async_trait;
use model::{
    cloud::CloudApi,
    error::ProviderError,
    lane::KvmNeed,
    world::{Finding, Preflight},
};

use super::{
    IMAGE, Latitude, NAME,
    stock::{CHEAPEST, Wanted},
    wire::{One, User},
};
use crate::{http::Request, kvm};

#[async_trait]
impl Preflight for Latitude {
    async fn preflight(&self, instance_type: &str, region: &str, need: KvmNeed) -> Vec<Finding> {
        let request = Request::get("/user/profile", "look at its credentials");
        let user = self.client.json::<One<User>>(&request).await;
        let mut findings = vec![credentials(&user)];
        if user.is_ok() {
            findings.push(self.its_project().await);
            findings.extend(self.stock(instance_type, region).await);
        }
        findings.push(self.kvm(instance_type, need));
        findings.push(good(
            "firewall",
            "its own needs an agent on the machine: the box sets up nftables itself before its SSH server starts",
        ));
        findings
    }
}

impl Latitude {
    async fn its_project(&self) -> Finding {
        match self.project().await {
            Ok(project) => {
                let it = &project.attributes;
                good("project", &format!("{} ({})", it.slug, it.name))
            }
            Err(error) => bad("project", &error),
        }
    }

    async fn stock(&self, instance_type: &str, region: &str) -> Vec<Finding> {
        let wanted = Wanted {
            plan: instance_type,
            site: region,
            image: IMAGE,
        };
        let choices = match self.choices(wanted).await {
            Ok(choices) => choices,
            Err(error) => return vec![bad("type", &error)],
        };
        let first = &choices[0];
        let stock = format!("{} is available in {} now", first.plan, first.site);
        let price = format!(
            "{} an hour for {} in {}, by the API",
            first.hourly, first.plan, first.site
        );
        vec![good("type", &stock), good("price", &price)]
    }

    fn kvm(&self, instance_type: &str, need: KvmNeed) -> Finding {
        match self.refuse(instance_type, need) {
            Some(refusal) => bad("kvm", &refusal),
            None if !need.is_needed() => good("kvm", "none is needed"),
            None if instance_type == CHEAPEST => {
                good("kvm", "all plans are whole machines; the KVM gate decides")
            }
            None => good("kvm", &kvm::said_of(NAME, instance_type)),
        }
    }
}

fn credentials(answer: &Result<One<User>, ProviderError>) -> Finding {
    match answer {
        Ok(user) => {
            let who = user.data.attributes.email.as_deref().unwrap_or("somebody");
            good("credentials", &format!("the API key of {who} is accepted"))
        }
        Err(error) => bad("credentials", error),
    }
}

fn good(what: &str, found: &str) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good: true,
        found: found.to_owned(),
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
