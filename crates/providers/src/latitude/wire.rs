//! Latitude.sh's JSON:API, field for field; only the fields that are used.

use serde::{Deserialize, Serialize};

use crate::http::{or_default, or_unknown, unknown};

/// What every request is wrapped in.
#[derive(Debug, Serialize)]
pub(super) struct Envelope<'a, A> {
    pub(super) data: Data<'a, A>,
}

#[derive(Debug, Serialize)]
pub(super) struct Data<'a, A> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<&'a str>,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) attributes: A,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateServer<'a> {
    pub(super) project: &'a str,
    pub(super) plan: &'a str,
    pub(super) site: &'a str,
    pub(super) operating_system: &'a str,
    pub(super) hostname: &'a str,
    pub(super) ssh_keys: Vec<&'a str>,
    /// The id of a thing of its own, not the text.
    pub(super) user_data: &'a str,
    /// Always `hourly`: without it a month is charged in advance.
    pub(super) billing: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateUserData<'a> {
    pub(super) description: &'a str,
    pub(super) project: &'a str,
    /// In base64.
    pub(super) content: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct Describe<'a> {
    pub(super) description: &'a str,
}

#[derive(Debug, Serialize)]
pub(super) struct CreateKey<'a> {
    pub(super) name: &'a str,
    pub(super) project: &'a str,
    pub(super) public_key: &'a str,
}

#[derive(Debug, Deserialize)]
pub(super) struct One<T> {
    pub(super) data: Resource<T>,
}

/// A list, whose rows are read one by one.
#[derive(Debug, Deserialize)]
pub(super) struct Many {
    pub(super) data: Vec<serde_json::Value>,
    #[serde(default)]
    pub(super) meta: Meta,
}

#[derive(Debug, Deserialize)]
pub(super) struct Resource<T> {
    pub(super) id: String,
    pub(super) attributes: T,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Meta {
    pub(super) stats: Stats,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Stats {
    pub(super) total: Total,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Total {
    pub(super) count: Option<usize>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Server {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) hostname: String,
    #[serde(default = "unknown", deserialize_with = "or_unknown")]
    pub(super) status: String,
    /// Whether its deletion is ignored.
    pub(super) locked: Option<bool>,
    pub(super) site: Option<String>,
    pub(super) region: Option<Region>,
    pub(super) primary_ipv4: Option<String>,
    pub(super) created_at: Option<String>,
    pub(super) plan: Option<PlanOf>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Region {
    pub(super) site: Option<Site>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Site {
    pub(super) slug: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PlanOf {
    pub(super) slug: Option<String>,
    pub(super) billing: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct UserData {
    pub(super) description: Option<String>,
    pub(super) content: Option<String>,
    pub(super) created_at: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Key {
    pub(super) name: Option<String>,
    pub(super) public_key: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Project {
    pub(super) name: String,
    pub(super) slug: String,
    pub(super) provisioning_type: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Plan {
    pub(super) slug: String,
    /// In the dotted form, such as `c2.small.x86`.
    pub(super) name: String,
    #[serde(default)]
    pub(super) features: Vec<String>,
    #[serde(default)]
    pub(super) specs: Specs,
    #[serde(default)]
    pub(super) regions: Vec<PlanRegion>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Specs {
    pub(super) gpu: Option<Gpu>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Gpu {
    pub(super) count: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct PlanRegion {
    #[serde(default)]
    pub(super) deploys_instantly: Vec<String>,
    #[serde(default)]
    pub(super) locations: Locations,
    #[serde(default)]
    pub(super) pricing: Pricing,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Locations {
    pub(super) available: Vec<String>,
    pub(super) in_stock: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Pricing {
    #[serde(rename = "USD")]
    pub(super) usd: Option<Price>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Price {
    pub(super) hour: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct System {
    pub(super) slug: String,
    /// Plans in the dotted form.
    #[serde(default)]
    pub(super) provisionable_on: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct User {
    pub(super) email: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) errors: Vec<FailureOf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FailureOf {
    pub(super) code: Option<String>,
    pub(super) title: Option<String>,
    pub(super) detail: Option<String>,
}
