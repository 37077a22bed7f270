//! Vultr's JSON, field for field as the API has it; only the fields that are used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::http::{or_default, or_unknown, unknown};

/// A virtual machine, or bare metal without what only virtual machines have.
#[derive(Debug, Serialize)]
pub(super) struct CreateServer<'a> {
    pub(super) region: &'a str,
    pub(super) plan: &'a str,
    pub(super) os_id: u64,
    pub(super) label: &'a str,
    pub(super) hostname: &'a str,
    pub(super) tags: Vec<String>,
    pub(super) sshkey_id: Vec<&'a str>,
    /// In base64.
    pub(super) user_data: String,
    pub(super) user_scheme: &'static str,
    pub(super) activation_email: bool,
    pub(super) enable_ipv6: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(super) virtual_only: Option<VirtualOnly<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct VirtualOnly<'a> {
    pub(super) firewall_group_id: &'a str,
    pub(super) backups: &'static str,
    pub(super) ddos_protection: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateKey<'a> {
    pub(super) name: &'a str,
    pub(super) ssh_key: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateGroup<'a> {
    pub(super) description: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateRule {
    pub(super) ip_type: &'static str,
    pub(super) protocol: &'static str,
    pub(super) subnet: String,
    pub(super) subnet_size: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Retag {
    pub(super) tags: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Rename {
    pub(super) name: String,
}

#[derive(Debug, Serialize)]
pub(super) struct Redescribe {
    pub(super) description: String,
}

/// The description calls bare metal `baremetal`, and real answers call it `bare_metal`.
#[derive(Debug, Deserialize)]
pub(super) struct OneServer {
    #[serde(alias = "bare_metal", alias = "baremetal")]
    pub(super) instance: Server,
}

#[derive(Debug, Deserialize)]
pub(super) struct Server {
    pub(super) id: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) region: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) plan: String,
    #[serde(default = "unknown", deserialize_with = "or_unknown")]
    pub(super) status: String,
    /// Empty or `0.0.0.0` while there is none.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) main_ip: String,
    /// Bare metal does not say.
    pub(super) power_status: Option<String>,
    /// Bare metal does not say.
    pub(super) server_status: Option<String>,
    pub(super) tags: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneKey {
    pub(super) ssh_key: Key,
}

#[derive(Debug, Deserialize)]
pub(super) struct Key {
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) ssh_key: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneGroup {
    pub(super) firewall_group: Group,
}

#[derive(Debug, Deserialize)]
pub(super) struct Group {
    pub(super) id: String,
    #[serde(default)]
    pub(super) description: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Rule {
    pub(super) protocol: String,
    #[serde(default)]
    pub(super) subnet: String,
    #[serde(default)]
    pub(super) subnet_size: u8,
}

#[derive(Debug, Deserialize)]
pub(super) struct Os {
    pub(super) id: u64,
    pub(super) name: String,
}

/// A plan of either kind.
#[derive(Debug, Deserialize)]
pub(super) struct Plan {
    pub(super) id: String,
    pub(super) hourly_cost: Option<f64>,
    /// Where it costs something else.
    #[serde(default)]
    pub(super) location_cost: BTreeMap<String, Cost>,
    #[serde(default)]
    pub(super) locations: Vec<String>,
}

impl Plan {
    /// Returns what an hour costs in a region, in dollars.
    pub(super) fn hourly_cost_in(&self, region: &str) -> Option<f64> {
        let here = self.location_cost.get(region).and_then(|cost| cost.hourly_cost);
        here.or(self.hourly_cost)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Cost {
    pub(super) hourly_cost: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Availability {
    #[serde(default)]
    pub(super) available_plans: Vec<String>,
}

/// Who asks. The rest of it is nobody's business.
#[derive(Debug, Deserialize)]
pub(super) struct OneAccount {
    pub(super) account: Account,
}

#[derive(Debug, Deserialize)]
pub(super) struct Account {
    /// What the key may do, for a service user.
    #[serde(default)]
    pub(super) acls: Vec<String>,
}

/// One page of a list. The list's own name is its key.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) meta: Option<Meta>,
    #[serde(flatten)]
    pub(super) lists: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Meta {
    pub(super) links: Option<Links>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Links {
    /// The cursor of the next page; empty at the end.
    pub(super) next: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) error: String,
}
