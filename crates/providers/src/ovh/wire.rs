//! OVHcloud's JSON, field for field as the API has it; only the fields that are used.

use model::money::Money;
use serde::{Deserialize, Serialize};

use crate::http::{or_default, or_unknown, unknown};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateInstance<'a> {
    pub(super) name: &'a str,
    pub(super) region: &'a str,
    pub(super) flavor_id: &'a str,
    pub(super) image_id: &'a str,
    pub(super) ssh_key_id: &'a str,
    /// Plain text: the API encodes it.
    pub(super) user_data: &'a str,
    /// Always false: a month that was begun cannot be taken back.
    pub(super) monthly_billing: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RenameInstance<'a> {
    pub(super) instance_name: &'a str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateKey<'a> {
    pub(super) name: &'a str,
    pub(super) public_key: &'a str,
    pub(super) region: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) region: String,
    #[serde(default = "unknown", deserialize_with = "or_unknown")]
    pub(super) status: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) ip_addresses: Vec<IpAddress>,
    /// Missing or null in lists.
    pub(super) flavor: Option<Named>,
    /// Such as `b3-16.consumption`.
    pub(super) plan_code: Option<String>,
    pub(super) monthly_billing: Option<MonthlyBilling>,
}

#[derive(Debug, Deserialize)]
pub(super) struct IpAddress {
    pub(super) ip: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) version: u8,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct MonthlyBilling {
    pub(super) status: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Flavor {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) region: String,
    pub(super) os_type: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) available: bool,
    /// How many of it this project may still start.
    pub(super) quota: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Image {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Key {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) public_key: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) regions: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Project {
    pub(super) description: Option<String>,
    pub(super) status: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Credential {
    pub(super) status: String,
    pub(super) expiration: Option<String>,
}

/// The body of a failed response.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Failure {
    /// Such as `Client::NotFound::NoMatchingCompute`.
    pub(super) class: Option<String>,
    pub(super) error_code: Option<String>,
    pub(super) message: Option<String>,
    pub(super) details: Option<Details>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Details {
    #[serde(rename = "unauthorizedActionsByIAM")]
    pub(super) unauthorized_actions: Option<serde_json::Value>,
}

/// The public catalogue of prices.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Catalogue {
    locale: Locale,
    #[serde(default)]
    addons: Vec<Addon>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Locale {
    currency_code: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Addon {
    plan_code: String,
    #[serde(default)]
    pricings: Vec<Pricing>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pricing {
    #[serde(default)]
    interval_unit: String,
    /// In hundred-millionths of the currency's unit.
    #[serde(default)]
    price: f64,
}

impl Catalogue {
    /// Returns what an hour of a type costs that is paid for by the hour.
    pub(super) fn hourly(&self, instance_type: &str) -> Option<Money> {
        let plan = format!("{instance_type}.consumption");
        let addon = self.addons.iter().find(|addon| addon.plan_code == plan)?;
        let mut pricings = addon.pricings.iter();
        let hour = pricings.find(|pricing| pricing.interval_unit == "hour")?;
        Money::of(hour.price / 1e8, &self.locale.currency_code)
    }
}
