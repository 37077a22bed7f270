//! EC2's query protocol: parameters as it numbers them, answers as XML; only the fields that are used.

use serde::Deserialize;

/// The version of the API that all names here are of.
const VERSION: &str = "2016-11-15";

/// The parameters of one call.
#[derive(Debug, Clone)]
pub(super) struct Params {
    pub(super) pairs: Vec<(String, String)>,
    filters: usize,
}

impl Params {
    /// Begins the parameters of an action.
    pub(super) fn new(action: &str) -> Self {
        let pairs = vec![
            ("Action".to_owned(), action.to_owned()),
            ("Version".to_owned(), VERSION.to_owned()),
        ];
        Self { pairs, filters: 0 }
    }

    /// Adds one.
    pub(super) fn set(mut self, key: impl Into<String>, value: impl ToString) -> Self {
        self.pairs.push((key.into(), value.to_string()));
        self
    }

    /// Adds a filter: one of the values fits.
    pub(super) fn filter(mut self, name: &str, values: &[&str]) -> Self {
        self.filters += 1;
        let number = self.filters;
        self = self.set(format!("Filter.{number}.Name"), name);
        for (index, value) in values.iter().enumerate() {
            self = self.set(format!("Filter.{number}.Value.{}", index + 1), value);
        }
        self
    }
}

/// A list. An empty one is an empty element, or none at all.
#[derive(Debug, Deserialize)]
pub(super) struct Set<T> {
    #[serde(default = "Vec::new")]
    pub(super) item: Vec<T>,
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self { item: Vec::new() }
    }
}

/// An answer that is a list with pages.
pub(super) trait Listed {
    /// What is listed.
    type Row;

    /// Returns the rows and what to ask for the next page.
    fn page(self) -> (Vec<Self::Row>, Option<String>);
}

macro_rules! listed {
    ($name:ident, $row:ty, $field:literal) => {
        #[derive(Debug, Deserialize)]
        #[serde(rename_all = "camelCase")]
        pub(super) struct $name {
            #[serde(default, rename = $field)]
            rows: Set<$row>,
            next_token: Option<String>,
        }

        impl Listed for $name {
            type Row = $row;

            fn page(self) -> (Vec<$row>, Option<String>) {
                (
                    self.rows.item,
                    self.next_token.filter(|token| !token.is_empty()),
                )
            }
        }
    };
}

listed!(Reservations, Reservation, "reservationSet");
listed!(Volumes, Volume, "volumeSet");
listed!(Interfaces, Interface, "networkInterfaceSet");
listed!(Groups, Group, "securityGroupInfo");
listed!(Images, Image, "imagesSet");
listed!(InstanceTypes, InstanceType, "instanceTypeSet");
listed!(Offerings, Offering, "instanceTypeOfferingSet");
listed!(Regions, Region, "regionInfo");
listed!(Subnets, Subnet, "subnetSet");
listed!(Vpcs, Vpc, "vpcSet");

/// What a create call answers, and one row of a list of instances.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reservation {
    #[serde(default)]
    pub(super) instances_set: Set<Instance>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Instance {
    pub(super) instance_id: String,
    pub(super) instance_state: Named,
    pub(super) instance_type: String,
    pub(super) ip_address: Option<String>,
    pub(super) private_ip_address: Option<String>,
    pub(super) placement: Option<Placement>,
    pub(super) state_reason: Option<Reason>,
    #[serde(default)]
    pub(super) tag_set: Set<Tag>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Placement {
    pub(super) availability_zone: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Reason {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Tag {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Volume {
    pub(super) volume_id: String,
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) tag_set: Set<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Interface {
    pub(super) network_interface_id: String,
    pub(super) status: Option<String>,
    #[serde(default)]
    pub(super) tag_set: Set<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Group {
    pub(super) group_id: String,
    #[serde(default)]
    pub(super) tag_set: Set<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewGroup {
    pub(super) group_id: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    pub(super) image_id: String,
    #[serde(default)]
    pub(super) creation_date: String,
    pub(super) root_device_name: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InstanceType {
    pub(super) instance_type: String,
    #[serde(default)]
    pub(super) bare_metal: bool,
    #[serde(default)]
    pub(super) processor_info: ProcessorInfo,
    #[serde(default)]
    pub(super) v_cpu_info: VCpuInfo,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct VCpuInfo {
    #[serde(default, rename = "defaultVCpus")]
    pub(super) default: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProcessorInfo {
    #[serde(default)]
    pub(super) supported_features: Words,
    #[serde(default)]
    pub(super) supported_architectures: Words,
}

/// A list of words, with words in it that nobody has described yet.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Words {
    #[serde(default)]
    pub(super) item: Vec<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Offering {
    pub(super) location: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Region {
    pub(super) region_name: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subnet {
    pub(super) subnet_id: String,
    pub(super) availability_zone: String,
    pub(super) vpc_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Vpc {
    pub(super) vpc_id: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ConsoleOutput {
    /// Base64.
    #[serde(default)]
    pub(super) output: String,
}

/// An answer that says nothing but that all went well.
#[derive(Debug, Deserialize)]
pub(super) struct Done {}

#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    #[serde(rename = "Errors")]
    pub(super) errors: Errors,
}

#[derive(Debug, Deserialize)]
pub(super) struct Errors {
    #[serde(rename = "Error")]
    pub(super) error: ErrorBody,
}

#[derive(Debug, Deserialize)]
pub(super) struct ErrorBody {
    #[serde(rename = "Code")]
    pub(super) code: String,
    #[serde(default, rename = "Message")]
    pub(super) message: String,
}

/// A failure in the JSON protocol.
#[derive(Debug, Deserialize)]
pub(super) struct JsonFailure {
    #[serde(rename = "__type")]
    pub(super) code: String,
    #[serde(default, rename = "Message", alias = "message")]
    pub(super) message: String,
}

/// What `GetServiceQuota` answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ServiceQuota {
    pub(super) quota: QuotaValue,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QuotaValue {
    pub(super) value: f64,
}
