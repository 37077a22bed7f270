//! Compute Engine's JSON, field for field as the API has it; only the fields that are used. Numbers of 64 bits are text.

use std::collections::BTreeMap;

use model::time::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewInstance {
    pub(super) name: String,
    pub(super) machine_type: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) tags: NetworkTags,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advanced_machine_features: Option<AdvancedMachineFeatures>,
    pub(super) scheduling: Scheduling,
    pub(super) disks: Vec<NewDisk>,
    pub(super) network_interfaces: Vec<NewInterface>,
    pub(super) metadata: Metadata,
    pub(super) deletion_protection: bool,
}

#[derive(Debug, Serialize)]
pub(super) struct NetworkTags {
    pub(super) items: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AdvancedMachineFeatures {
    pub(super) enable_nested_virtualization: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Scheduling {
    pub(super) on_host_maintenance: &'static str,
    pub(super) automatic_restart: bool,
    pub(super) provisioning_model: &'static str,
    pub(super) instance_termination_action: &'static str,
    /// RFC 3339.
    pub(super) termination_time: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewDisk {
    pub(super) boot: bool,
    pub(super) auto_delete: bool,
    pub(super) initialize_params: InitializeParams,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InitializeParams {
    /// A disk of that name that exists already is attached instead of made.
    pub(super) disk_name: String,
    pub(super) source_image: String,
    pub(super) disk_size_gb: String,
    pub(super) disk_type: String,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewInterface {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) subnetwork: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) network: Option<String>,
    pub(super) access_configs: Vec<NewAccess>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Subnetwork {
    #[serde(default)]
    pub(super) network: String,
}

#[derive(Debug, Serialize)]
pub(super) struct NewAccess {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
}

#[derive(Debug, Serialize)]
pub(super) struct Metadata {
    pub(super) items: Vec<Item>,
}

#[derive(Debug, Serialize)]
pub(super) struct Item {
    pub(super) key: &'static str,
    pub(super) value: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewFirewall {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) network: String,
    pub(super) direction: &'static str,
    pub(super) priority: u32,
    pub(super) source_ranges: Vec<String>,
    pub(super) target_tags: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) allowed: Vec<Protocol>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) denied: Vec<Protocol>,
}

#[derive(Debug, Serialize)]
pub(super) struct Protocol {
    #[serde(rename = "IPProtocol")]
    pub(super) ip_protocol: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ports: Vec<&'static str>,
}

#[derive(Debug, Serialize)]
pub(super) struct Redescribe {
    pub(super) description: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Relabel {
    pub(super) label_fingerprint: String,
    pub(super) labels: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance {
    pub(super) name: String,
    pub(super) status: String,
    pub(super) status_message: Option<String>,
    pub(super) zone: String,
    pub(super) machine_type: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) label_fingerprint: Option<String>,
    #[serde(default)]
    pub(super) network_interfaces: Vec<Interface>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interface {
    #[serde(rename = "networkIP")]
    pub(super) network_ip: Option<String>,
    #[serde(default)]
    pub(super) access_configs: Vec<Access>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Access {
    #[serde(rename = "natIP")]
    pub(super) nat_ip: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Disk {
    pub(super) name: String,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, String>,
    pub(super) status: Option<String>,
    pub(super) zone: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Firewall {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    pub(super) name: String,
    pub(super) status: String,
    pub(super) status_message: Option<String>,
    /// What it is done to.
    pub(super) target_link: Option<String>,
    pub(super) insert_time: Option<Timestamp>,
    pub(super) error: Option<OperationErrors>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OperationErrors {
    #[serde(default)]
    pub(super) errors: Vec<OperationError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct OperationError {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GuestAttributes {
    pub(super) query_value: Option<QueryValue>,
}

#[derive(Debug, Deserialize)]
pub(super) struct QueryValue {
    #[serde(default)]
    pub(super) items: Vec<GuestAttribute>,
}

#[derive(Debug, Deserialize)]
pub(super) struct GuestAttribute {
    pub(super) key: String,
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct SerialPort {
    #[serde(default)]
    pub(super) contents: String,
}

/// One page of a list in one place.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Page {
    #[serde(default)]
    pub(super) items: Vec<serde_json::Value>,
    pub(super) next_page_token: Option<String>,
}

/// One page of a list over all zones.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Everywhere {
    #[serde(default)]
    pub(super) items: BTreeMap<String, serde_json::Value>,
    pub(super) next_page_token: Option<String>,
    #[serde(default)]
    pub(super) unreachables: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Warning {
    pub(super) code: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Zone {
    pub(super) name: String,
    pub(super) status: String,
    pub(super) deprecated: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Region {
    #[serde(default)]
    pub(super) quotas: Vec<Quota>,
    /// Their addresses.
    #[serde(default)]
    pub(super) zones: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Quota {
    #[serde(default)]
    pub(super) metric: String,
    #[serde(default)]
    pub(super) limit: f64,
    #[serde(default)]
    pub(super) usage: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MachineType {
    pub(super) guest_cpus: Option<u32>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) error: FailureBody,
}

#[derive(Debug, Deserialize)]
pub(super) struct FailureBody {
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) status: String,
    #[serde(default)]
    pub(super) errors: Vec<Reason>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    #[serde(default)]
    pub(super) reason: String,
}
