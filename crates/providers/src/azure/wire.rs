//! What Azure Resource Manager answers, field for field as the API has it; only the fields that are used.

use std::collections::BTreeMap;

use model::money::Money;
use serde::Deserialize;

/// A group, a box, or anything that was made for one.
#[derive(Debug, Deserialize)]
pub(super) struct Thing {
    #[serde(default)]
    pub(super) id: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) location: String,
    /// Such as `Microsoft.Compute/disks`.
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    pub(super) tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) properties: Properties,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Properties {
    pub(super) provisioning_state: Option<String>,
    pub(super) hardware_profile: Option<HardwareProfile>,
    pub(super) security_profile: Option<SecurityProfile>,
    pub(super) instance_view: Option<InstanceView>,
    /// Of an address.
    pub(super) ip_address: Option<String>,
    /// Of an interface.
    #[serde(default)]
    pub(super) ip_configurations: Vec<IpConfiguration>,
}

#[derive(Debug, Deserialize)]
pub(super) struct IpConfiguration {
    #[serde(default)]
    pub(super) properties: IpProperties,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct IpProperties {
    #[serde(rename = "privateIPAddress")]
    pub(super) private_ip_address: Option<String>,
    #[serde(rename = "publicIPAddress")]
    pub(super) public_ip_address: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HardwareProfile {
    pub(super) vm_size: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecurityProfile {
    pub(super) security_type: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct InstanceView {
    #[serde(default)]
    pub(super) statuses: Vec<Status>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) code: String,
    pub(super) message: Option<String>,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    pub(super) value: Vec<serde_json::Value>,
    /// The address of the next page, to be followed as it is.
    pub(super) next_link: Option<String>,
}

/// How something that takes long goes.
#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    pub(super) error: Option<ErrorBody>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) error: ErrorBody,
}

/// The code that says most is often the innermost.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ErrorBody {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
    pub(super) details: Option<Vec<ErrorBody>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Namespace {
    pub(super) registration_state: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sku {
    #[serde(default)]
    pub(super) resource_type: String,
    #[serde(default)]
    pub(super) name: String,
    /// As quotas name it, such as `standardDSv5Family`.
    #[serde(default)]
    pub(super) family: String,
    #[serde(default)]
    pub(super) capabilities: Vec<Capability>,
    #[serde(default)]
    pub(super) restrictions: Vec<Restriction>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Capability {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Restriction {
    /// `Location` or `Zone`.
    #[serde(rename = "type", default)]
    pub(super) of: String,
    #[serde(default)]
    pub(super) reason_code: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    pub(super) current_value: i64,
    pub(super) limit: i64,
    pub(super) name: UsageName,
}

#[derive(Debug, Deserialize)]
pub(super) struct UsageName {
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Diagnostics {
    pub(super) serial_console_log_blob_uri: Option<String>,
}

/// What the retail prices answer. There are no more of one size in one region than fit on a page.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RetailPrices {
    #[serde(default)]
    items: Vec<RetailPrice>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetailPrice {
    retail_price: f64,
    currency_code: String,
    #[serde(default)]
    unit_of_measure: String,
    #[serde(default)]
    product_name: String,
    #[serde(default)]
    sku_name: String,
}

impl RetailPrices {
    /// Returns what an hour costs under Linux, on demand; the dearest where there are several.
    pub(super) fn hourly(&self) -> Option<Money> {
        let is_it = |item: &&RetailPrice| {
            item.unit_of_measure == "1 Hour"
                && !item.product_name.contains("Windows")
                && !["Spot", "Low Priority"]
                    .iter()
                    .any(|word| item.sku_name.contains(word))
        };
        let prices = self.items.iter().filter(is_it);
        let prices = prices.filter_map(|item| Money::of(item.retail_price, &item.currency_code));
        prices.max_by_key(|price| price.micros)
    }
}
