//! Hetzner Cloud's JSON, field for field as the API has it; only the fields that are used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize)]
pub(super) struct CreateServer<'a> {
    pub(super) name: &'a str,
    pub(super) server_type: &'a str,
    pub(super) image: &'a str,
    pub(super) location: &'a str,
    pub(super) ssh_keys: Vec<&'a str>,
    pub(super) user_data: &'a str,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) firewalls: Vec<FirewallRef>,
    pub(super) public_net: PublicNetRequest,
    pub(super) start_after_create: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct FirewallRef {
    pub(super) firewall: u64,
}

#[derive(Debug, Serialize)]
pub(super) struct PublicNetRequest {
    pub(super) enable_ipv4: bool,
    pub(super) enable_ipv6: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateSshKey<'a> {
    pub(super) name: &'a str,
    pub(super) public_key: &'a str,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateFirewall<'a> {
    pub(super) name: &'a str,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) rules: Vec<Rule<'a>>,
}

#[derive(Debug, Serialize)]
pub(super) struct Rule<'a> {
    pub(super) direction: &'static str,
    pub(super) protocol: &'static str,
    /// Text, not a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) port: Option<&'static str>,
    pub(super) source_ips: &'a [String],
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Labels {
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct CreatedServer {
    pub(super) server: Server,
    /// Creates the server, which is off then.
    pub(super) action: Action,
    /// Start it.
    #[serde(default)]
    pub(super) next_actions: Vec<Action>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneServer {
    pub(super) server: Server,
}

#[derive(Debug, Deserialize)]
pub(super) struct OneFirewall {
    pub(super) firewall: Firewall,
}

#[derive(Debug, Deserialize)]
pub(super) struct Server {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) public_net: PublicNet,
    pub(super) server_type: Named,
    /// Missing from answers of before July 2026, which have it in `datacenter`.
    pub(super) location: Option<Named>,
    pub(super) datacenter: Option<Datacenter>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Datacenter {
    pub(super) location: Option<Named>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct PublicNet {
    pub(super) ipv4: Option<Ip>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ip {
    /// Of the primary IP.
    pub(super) id: Option<u64>,
    pub(super) ip: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Action {
    pub(super) id: u64,
    pub(super) status: String,
    pub(super) error: Option<ErrorBody>,
}

/// A key, a firewall, a primary IP or a volume.
#[derive(Debug, Deserialize)]
pub(super) struct Thing {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) location: Option<Named>,
    pub(super) datacenter: Option<Datacenter>,
    pub(super) ip: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct SshKey {
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) public_key: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Firewall {
    pub(super) id: u64,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ServerType {
    pub(super) name: String,
    #[serde(default)]
    pub(super) prices: Vec<PriceOf>,
    #[serde(default)]
    pub(super) locations: Vec<TypeLocation>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PriceOf {
    pub(super) location: String,
    pub(super) price_hourly: Price,
}

#[derive(Debug, Deserialize)]
pub(super) struct Price {
    pub(super) net: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct TypeLocation {
    pub(super) name: String,
    /// Advice only: a create can still fail.
    pub(super) available: Option<bool>,
}

/// One page of a list. The list's own name is its key.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    pub(super) meta: Meta,
    #[serde(flatten)]
    pub(super) lists: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Meta {
    pub(super) pagination: Pagination,
}

#[derive(Debug, Deserialize)]
pub(super) struct Pagination {
    pub(super) next_page: Option<u32>,
    pub(super) last_page: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) error: ErrorBody,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    pub(super) code: String,
    pub(super) message: String,
}
