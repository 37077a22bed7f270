//! Says before a run whether Vultr could provision a box.

use async_trait::async_trait;
use futures::future::join3;
use model::{
    cloud::CloudApi,
    error::ProviderError,
    lane::KvmNeed,
    world::{Finding, Preflight},
};

use super::{
    Vultr, places, plans,
    wire::{Account, Availability, OneAccount, Plan},
};
use crate::http::Request;

/// What a key must be allowed to do. Rights that no list names are not missed.
const RIGHTS: [&str; 3] = ["provisioning", "subscriptions", "firewall"];

#[async_trait]
impl Preflight for Vultr {
    async fn preflight(&self, instance_type: &str, region: &str, need: KvmNeed) -> Vec<Finding> {
        let account = Request::get("/account", "look at the account");
        let stock = Request::get(format!("/regions/{region}/availability"), "ask for the stock");
        let (account, stock, plan) = join3(
            self.client.json::<OneAccount>(&account),
            self.client.json::<Availability>(&stock),
            self.plan(instance_type),
        )
        .await;
        let mut findings = vec![credentials(&account)];
        if let Ok(OneAccount { account }) = &account {
            findings.extend(rights(account));
            findings.push(in_stock(&stock, &plan, instance_type, region));
            findings.extend(plan.ok().flatten().and_then(|plan| price(&plan, region)));
        }
        findings.push(kvm(self, instance_type, need));
        findings.extend(plans::is_metal(instance_type).then(own_firewall));
        findings
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

fn bad(what: &str, found: String, help: Option<String>) -> Finding {
    Finding {
        what: what.to_owned(),
        is_good: false,
        found,
        help,
    }
}

fn credentials(answer: &Result<OneAccount, ProviderError>) -> Finding {
    match answer {
        Ok(_) => good("credentials", "the key of VULTR_API_KEY is accepted".to_owned()),
        Err(error) => bad("credentials", error.to_string(), error.help.clone()),
    }
}

fn rights(account: &Account) -> Option<Finding> {
    let has = |right: &&str| account.acls.iter().any(|acl| acl == right);
    let missing: Vec<_> = RIGHTS.into_iter().filter(|right| !has(right)).collect();
    if account.acls.is_empty() || missing.is_empty() {
        return None;
    }
    let found = format!("the key's user lacks the right to: {}", missing.join(", "));
    let help = "grant it in the Vultr console (Account, Users)".to_owned();
    Some(bad("rights", found, Some(help)))
}

fn in_stock(
    stock: &Result<Availability, ProviderError>,
    plan: &Result<Option<Plan>, ProviderError>,
    instance_type: &str,
    region: &str,
) -> Finding {
    let plan = match plan {
        Ok(Some(plan)) => plan,
        Ok(None) => {
            let help = format!(
                "the default is {}; `vultr-cli plans list` shows all",
                plans::VIRTUAL
            );
            return bad("type", format!("Vultr has no plan {instance_type}"), Some(help));
        }
        Err(error) => return bad("type", error.to_string(), error.help.clone()),
    };
    match stock {
        Ok(stock) if stock.available_plans.iter().any(|plan| plan == instance_type) => {
            good("type", format!("{instance_type} is available in {region}"))
        }
        Ok(_) => {
            let found = format!("{instance_type} is not available in {region} now");
            bad("type", found, Some(places(plan)))
        }
        Err(error) => bad("type", error.to_string(), Some(places(plan))),
    }
}

fn price(plan: &Plan, region: &str) -> Option<Finding> {
    let amount = plan.hourly_cost_in(region)?;
    Some(good(
        "price",
        format!("{amount} USD an hour in {region}, at least one hour; a box that is off is billed too"),
    ))
}

fn kvm(vultr: &Vultr, instance_type: &str, need: KvmNeed) -> Finding {
    if let Some(refusal) = vultr.refuse(instance_type, need) {
        return bad("kvm", refusal.cause, refusal.help);
    }
    let found = match (need.is_needed(), plans::is_metal(instance_type)) {
        (false, _) => "none is needed",
        (true, true) => "bare metal",
        (true, false) => {
            "seen on every VX1 plan that was probed, and not promised: the gate on the box decides"
        }
    };
    good("kvm", found.to_owned())
}

fn own_firewall() -> Finding {
    let found =
        "bare metal takes no firewall group: the box sets up nftables itself before its SSH server starts";
    good("firewall", found.to_owned())
}
