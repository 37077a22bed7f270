//! Google Compute Engine: nested KVM on most Intel types. The single calls; see README.md for what surprised us.

mod convert;
mod credentials;
mod environment;
mod preflight;
mod prices;
mod series;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::{join_all, try_join, try_join3};
use model::{
    cloud::{CloudApi, InstanceState, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, ResourceKind},
    money::Money,
    name::Label,
    order::Order,
    price::Billed,
    selector::Selector,
    profile::{Profile, Ranges},
    tags::{self, OURS, Tags},
    time::Timestamp,
    world::{Console, Preflight, Prices},
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use self::credentials::DefaultCredentials;
pub(crate) use self::environment::ENTRY;
use self::wire::{
    AdvancedMachineFeatures, Disk, Everywhere, Firewall, GuestAttributes, InitializeParams, Instance, Item, MachineType,
    Metadata, NetworkTags, NewAccess, NewDisk, NewFirewall, NewInstance, NewInterface, Operation, Page,
    Protocol, Redescribe, Relabel, Scheduling, SerialPort, Warning, Zone,
};
use crate::http::{Authorize, Client, Request, RequestLog, Settings};

/// Where the API answers.
pub const ENDPOINT: &str = "https://compute.googleapis.com/compute/v1";

/// Where its credentials come from.
const CREDENTIALS_HELP: &str = "run `gcloud auth application-default login`, or set \
     GOOGLE_APPLICATION_CREDENTIALS to a key file; and set GOOGLE_CLOUD_PROJECT";

/// The image of an order that names none.
const IMAGE: &str = "projects/ubuntu-os-cloud/global/images/family/ubuntu-2404-lts-amd64";

/// The disk of an order that names none, in GiB.
const DISK_GB: u32 = 50;

/// The longest value of one piece of metadata, in bytes.
const USER_DATA_MAX: usize = 256 * 1024;

/// The longest page that the API gives.
const PAGE: u32 = 500;

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "Google deletes the box at its deadline; its two firewall rules, which cost nothing, stay until `twolane reap`";

/// Compute Engine, in one project.
pub struct Gcp {
    client: Client,
    profile: Profile,
    project: String,
    network: String,
    subnetwork: Option<String>,
}

/// What is needed to use Compute Engine.
pub struct Access {
    /// The project that boxes are made in.
    pub project: String,
    /// The network that boxes are put in; none: `default`.
    pub network: Option<String>,
    /// The subnet that boxes are put in, whole: `projects/HOST/regions/REGION/subnetworks/NAME`. None: the network's own.
    pub subnetwork: Option<String>,
    /// How a request proves who asks.
    pub authorize: Arc<dyn Authorize>,
    /// Where the API answers, when that is not [`ENDPOINT`].
    pub endpoint: Option<String>,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
    /// How long one request may take; none: a minute.
    pub time_max: Option<Duration>,
}

impl Gcp {
    /// Makes a client of the API. Sends nothing.
    pub fn new(access: Access) -> Result<Self, ProviderError> {
        let profile = Profile {
            // The request carries an id, and the name is unique in its zone.
            is_create_repeatable: true,
            reports_host_key: true,
            listing_lag: Duration::from_secs(3),
            user_data_max: USER_DATA_MAX,
            // The box has no IPv6 address.
            ranges: Ranges::Ipv4,
            ..Profile::new("gcp", &[("n2-standard-4", "us-central1-a")], DEAD_MANS_SWITCH)
        };
        let client = Client::new(Settings {
            provider: profile.name.clone(),
            endpoint: access.endpoint.unwrap_or_else(|| ENDPOINT.to_owned()),
            authorize: access.authorize,
            dialect: &convert::Words,
            log: access.log,
            time_max: access.time_max,
        })?;
        let network = access.network.unwrap_or_else(|| "default".to_owned());
        Ok(Self {
            client,
            profile,
            project: access.project,
            network,
            subnetwork: access.subnetwork,
        })
    }

    /// Returns the network, which may be of another project that shares it.
    fn network_path(&self) -> String {
        match self.network.contains('/') {
            true => self.network.clone(),
            false => format!("projects/{}/global/networks/{}", self.project, self.network),
        }
    }

    fn path(&self, rest: &str) -> String {
        format!("/projects/{}/{rest}", self.project)
    }

    /// Returns the two rules of a box. The default network lets everybody in on port 22, and a narrower rule alone
    /// does not close that: whoever is not let in first is turned away second.
    fn rules(&self, order: &Order) -> [NewFirewall; 2] {
        let label = &order.tags.label;
        let rule = |suffix: &str, priority: u32, source_ranges: Vec<String>| NewFirewall {
            name: format!("{label}-{suffix}"),
            description: convert::description(&order.tags),
            network: self.network_path(),
            direction: "INGRESS",
            priority,
            source_ranges,
            target_tags: vec![label.to_string()],
            allowed: Vec::new(),
            denied: Vec::new(),
        };
        let ssh = Protocol {
            ip_protocol: "tcp",
            ports: vec!["22"],
        };
        let all = Protocol {
            ip_protocol: "all",
            ports: Vec::new(),
        };
        // The box has no IPv6 address, and one rule cannot name ranges of both kinds.
        let allow = order
            .allow
            .iter()
            .filter(|range| !range.contains(':'))
            .cloned()
            .collect();
        [
            NewFirewall {
                allowed: vec![ssh],
                ..rule("allow", 900, allow)
            },
            NewFirewall {
                denied: vec![all],
                ..rule("deny", 950, vec!["0.0.0.0/0".to_owned()])
            },
        ]
    }

    /// Makes a rule and waits for the answer that it holds; or finds that an earlier try made it.
    async fn rule(&self, rule: &NewFirewall, tags: &Tags) -> Result<(), ProviderError> {
        const WHAT: &str = "make the firewall";
        let request = Request::new(Method::POST, self.path("global/firewalls"), WHAT)
            .query("requestId", request_id(&tags.token, &rule.name))
            .json(rule);
        let operation = match self.client.json::<Operation>(&request).await {
            Ok(operation) => operation,
            Err(error) if error.kind == ErrorKind::Taken => return self.same_rule(rule, tags, error).await,
            Err(error) if error.kind == ErrorKind::NotFound => {
                let help = "many companies delete the network `default`: name yours in TWOLANE_GCP_NETWORK, and its subnet in \
                            TWOLANE_GCP_SUBNETWORK (projects/HOST/regions/REGION/subnetworks/NAME)";
                return Err(error.with_help(help));
            }
            Err(error) => return Err(error),
        };
        let wait = self.path(&format!("global/operations/{}/wait", operation.name));
        let operation: Operation = self.client.json(&Request::new(Method::POST, wait, WHAT)).await?;
        if let Some((kind, why)) = convert::failure(&operation) {
            return match kind {
                ErrorKind::Taken => self.same_rule(rule, tags, self.error(kind, WHAT, why)).await,
                kind => Err(self.error(kind, WHAT, why)),
            };
        }
        match operation.status.as_str() {
            "DONE" => Ok(()),
            status => Err(self.error(
                ErrorKind::Unavailable,
                WHAT,
                format!("the rule is still {status}"),
            )),
        }
    }

    async fn same_rule(
        &self,
        rule: &NewFirewall,
        tags: &Tags,
        taken: ProviderError,
    ) -> Result<(), ProviderError> {
        let path = self.path(&format!("global/firewalls/{}", rule.name));
        let found: Firewall = self
            .client
            .json(&Request::get(path, "look for the firewall"))
            .await?;
        let found = Tags::parse(&convert::described(&found.description));
        if found.is_some_and(|found| found.label == tags.label && found.run == tags.run) {
            return Ok(());
        }
        let help = format!(
            "`twolane down {}` removes what an earlier run left; else choose another label",
            tags.label
        );
        Err(taken.with_help(help))
    }

    fn instance(&self, order: &Order, zone: &str) -> NewInstance {
        let candidate = &order.candidate;
        let (labels, label) = (order.tags.pairs(), order.tags.label.to_string());
        let disk = InitializeParams {
            disk_name: order.tags.token.to_string(),
            source_image: candidate.image.clone().unwrap_or_else(|| IMAGE.to_owned()),
            disk_size_gb: candidate.disk_gb.unwrap_or(DISK_GB).to_string(),
            disk_type: format!(
                "zones/{zone}/diskTypes/{}",
                series::disk_type(&candidate.instance_type)
            ),
            labels: labels.clone(),
        };
        let scheduling = Scheduling {
            on_host_maintenance: "TERMINATE",
            automatic_restart: false,
            provisioning_model: "STANDARD",
            instance_termination_action: "DELETE",
            termination_time: order.tags.deadline.moment().to_string(),
        };
        let access = NewAccess {
            kind: "ONE_TO_ONE_NAT",
            name: "External NAT",
        };
        let network = self.network_path();
        NewInstance {
            machine_type: format!("zones/{zone}/machineTypes/{}", candidate.instance_type),
            labels,
            tags: NetworkTags {
                items: vec![label.clone()],
            },
            advanced_machine_features: series::is_nested(&candidate.instance_type, order.need).then_some(
                AdvancedMachineFeatures {
                    enable_nested_virtualization: true,
                },
            ),
            scheduling,
            disks: vec![NewDisk {
                boot: true,
                auto_delete: true,
                initialize_params: disk,
            }],
            network_interfaces: vec![NewInterface {
                network,
                subnetwork: self.subnetwork.clone(),
                access_configs: vec![access],
            }],
            metadata: metadata(order),
            deletion_protection: false,
            name: label,
        }
    }

    /// Returns a list over all zones, whole.
    async fn everywhere<T: DeserializeOwned>(
        &self,
        list: &str,
        filter: &str,
        operation: &'static str,
    ) -> Result<Vec<T>, ProviderError> {
        let mut rows = Vec::new();
        let mut token = None;
        loop {
            let request = self.page_request(&format!("aggregated/{list}"), operation, token.as_deref());
            let page: Everywhere = self.client.json(&request.query("filter", filter)).await?;
            let mut missing = page.unreachables;
            for (place, found) in page.items {
                let is_unreachable = warning(&found).is_some_and(|warning| warning.code == "UNREACHABLE");
                missing.extend(is_unreachable.then(|| place.clone()));
                let found: Option<Vec<T>> = found
                    .get(list)
                    .cloned()
                    .map(serde_json::from_value)
                    .transpose()
                    .map_err(|error| {
                        self.error(ErrorKind::Unavailable, operation, format!("{place}: {error}"))
                    })?;
                rows.extend(found.unwrap_or_default());
            }
            if !missing.is_empty() {
                let cause = format!("the list is incomplete: {} did not answer", missing.join(", "));
                return Err(self.error(ErrorKind::Unavailable, operation, cause));
            }
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(rows);
            }
        }
    }

    fn page_request(&self, rest: &str, operation: &'static str, token: Option<&str>) -> Request {
        let request = Request::get(self.path(rest), operation).query("maxResults", PAGE);
        match token {
            Some(token) => request.query("pageToken", token),
            None => request,
        }
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        rest: &str,
        operation: &'static str,
    ) -> Result<Vec<T>, ProviderError> {
        let mut rows = Vec::new();
        let mut token = None;
        loop {
            let page: Page<T> = self
                .client
                .json(&self.page_request(rest, operation, token.as_deref()))
                .await?;
            rows.extend(page.items);
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                return Ok(rows);
            }
        }
    }

    /// Looks at a box that is there. While it boots, asks for the host key that it reports.
    async fn observed(&self, instance: &Instance) -> Result<ObservedInstance, ProviderError> {
        let (listed, state) = (convert::listed_instance(instance), convert::state(instance));
        let host_key = match state {
            InstanceState::Running => self.host_key(&listed).await?,
            _ => None,
        };
        Ok(ObservedInstance {
            listed,
            state,
            host_key,
            operation: None,
        })
    }

    /// Reads the host key from what only the box itself can write: its guest attributes, else its console.
    async fn host_key(&self, listed: &Listed) -> Result<Option<String>, ProviderError> {
        let path = self.path(&format!(
            "zones/{}/instances/{}/getGuestAttributes",
            listed.region, listed.id
        ));
        let request = Request::get(path, "read the host key").query("queryPath", "hostkeys/");
        match self.client.json::<GuestAttributes>(&request).await {
            Ok(found) => {
                let items = found.query_value.map(|value| value.items).unwrap_or_default();
                let key = items.iter().find(|item| item.key == "ssh-ed25519");
                Ok(key.map(|item| format!("ssh-ed25519 {}", item.value)))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            // An organisation may forbid guest attributes.
            Err(error) if matches!(error.kind, ErrorKind::Unauthorized | ErrorKind::Invalid) => {
                Ok(convert::printed_host_key(&self.serial(listed).await?))
            }
            Err(error) => Err(error),
        }
    }

    async fn serial(&self, listed: &Listed) -> Result<String, ProviderError> {
        let path = self.path(&format!(
            "zones/{}/instances/{}/serialPort",
            listed.region, listed.id
        ));
        let request = Request::get(path, "read the console").query("port", 1);
        Ok(self.client.json::<SerialPort>(&request).await?.contents)
    }

    fn thing_path(&self, listed: &Listed) -> Option<String> {
        let rest = match listed.kind {
            ResourceKind::Machine => format!("zones/{}/instances/{}", listed.region, listed.id),
            ResourceKind::Disk => format!("zones/{}/disks/{}", listed.region, listed.id),
            ResourceKind::Firewall => format!("global/firewalls/{}", listed.id),
            ResourceKind::Address
            | ResourceKind::Interface
            | ResourceKind::Key
            | ResourceKind::Group
            | ResourceKind::UserData
            | ResourceKind::Directory => return None,
        };
        Some(self.path(&rest))
    }

    async fn relabel(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        const WHAT: &str = "move the deadline";
        let current = listed.tags.as_ref().map(|tags| tags.deadline);
        if current.is_some_and(|current| tags.deadline > current) {
            let cause = "Google deletes the box at the deadline it was made with, which cannot be moved while it runs";
            let help = "make a new box with a longer `ttl`";
            return Err(self.error(ErrorKind::Invalid, WHAT, cause).with_help(help));
        }
        let path = self.path(&format!("zones/{}/instances/{}", listed.region, listed.id));
        let instance: Instance = self.client.json(&Request::get(path.clone(), WHAT)).await?;
        let label_fingerprint = instance.label_fingerprint.unwrap_or_default();
        let body = Relabel {
            label_fingerprint,
            labels: tags.pairs(),
        };
        let request = Request::new(Method::POST, format!("{path}/setLabels"), WHAT).json(&body);
        self.client.send(&request).await.map(|_| ())
    }
}

fn warning(found: &serde_json::Value) -> Option<Warning> {
    serde_json::from_value(found.get("warning")?.clone()).ok()
}

/// Makes the id of a request out of the attempt and what it is for: a repeated request has the same one.
fn request_id(token: &model::name::Token, what: &str) -> String {
    let digest = Sha256::digest(format!("{token} {what}"));
    let hex = hex::encode(&digest[..16]);
    format!(
        "{}-{}-4{}-8{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[13..16],
        &hex[17..20],
        &hex[20..32]
    )
}

fn metadata(order: &Order) -> Metadata {
    let item = |key: &'static str, value: &str| Item {
        key,
        value: value.to_owned(),
    };
    let items = vec![
        item("user-data", &order.user_data),
        item("ssh-keys", &format!("root:{}", order.login_key)),
        item("block-project-ssh-keys", "TRUE"),
        item("enable-oslogin", "FALSE"),
        item("enable-guest-attributes", "TRUE"),
    ];
    Metadata { items }
}

/// Splits a zone from its region: `us-central1-a` is in `us-central1`. A region has no zone.
fn split_place(place: &str) -> (&str, Option<&str>) {
    match place.rsplit_once('-') {
        Some((region, letter)) if letter.len() == 1 => (region, Some(place)),
        _ => (place, None),
    }
}

impl Gcp {
    async fn machine_type(&self, zone: &str, name: &str) -> Result<MachineType, ProviderError> {
        let path = self.path(&format!("zones/{zone}/machineTypes/{name}"));
        self.client.json(&Request::get(path, "look up the type")).await
    }

    /// Returns the zones of the order's region that sell the type and are open, the wanted one first.
    async fn zones(&self, order: &Order) -> Result<Vec<String>, ProviderError> {
        let (region, wanted) = split_place(&order.candidate.region);
        let zones: Vec<Zone> = self.pages("zones", "list the zones").await?;
        let is_open = |zone: &&Zone| zone.status == "UP" && zone.deprecated.is_none();
        let mut names: Vec<_> = zones
            .iter()
            .filter(is_open)
            .map(|zone| zone.name.clone())
            .collect();
        names.retain(|name| split_place(name).0 == region);
        names.sort_by_key(|name| (Some(name.as_str()) != wanted, name.clone()));
        let looks = names.iter().map(|zone| self.machine_type(zone, &order.candidate.instance_type));
        let looks = join_all(looks).await;
        let is_unsold = |look: &Result<MachineType, ProviderError>| {
            look.as_ref().is_err_and(|error| error.kind == ErrorKind::NotFound)
        };
        if !names.is_empty() && looks.iter().all(is_unsold) {
            let cause = format!("no zone of {region} sells {}", order.candidate.instance_type);
            let help = "add another region or type to `boxes`";
            return Err(self
                .error(ErrorKind::NoCapacity, "choose a zone", cause)
                .with_help(help));
        }
        let mut looks = looks.iter();
        names.retain(|_| !looks.next().is_some_and(is_unsold));
        if names.is_empty() {
            let help = "`gcloud compute zones list` shows those that are there".to_owned();
            let cause = format!("there is no open zone in {}", order.candidate.region);
            return Err(self.error(ErrorKind::Invalid, "choose a zone", cause).with_help(help));
        }
        Ok(names)
    }

    async fn create(&self, order: &Order, zone: String) -> Result<ObservedInstance, ProviderError> {
        let request = Request::new(
            Method::POST,
            self.path(&format!("zones/{zone}/instances")),
            "create a box",
        )
        .query("requestId", request_id(&order.tags.token, &zone))
        .json(&self.instance(order, &zone))
        .creates();
        let operation: Operation = self.client.json(&request).await?;
        let listed = Listed {
            kind: ResourceKind::Machine,
            id: order.tags.label.to_string(),
            region: zone,
            tags: Some(order.tags.clone()),
            state: "being made".to_owned(),
            address: None,
            instance_type: Some(order.candidate.instance_type.clone()),
        };
        let state = match convert::failure(&operation) {
            Some((kind, why)) => InstanceState::Failed { kind, why },
            None => InstanceState::Pending,
        };
        Ok(ObservedInstance {
            listed,
            state,
            host_key: None,
            operation: Some(operation.name),
        })
    }
}

#[async_trait]
impl CloudApi for Gcp {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        let (cause, help) = series::why_not(instance_type, need)?;
        Some(self.error(ErrorKind::NoKvm, "create a box", cause).with_help(help))
    }

    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        let [allow, deny] = self.rules(order);
        let zones = self.zones(order).await?;
        try_join(self.rule(&allow, &order.tags), self.rule(&deny, &order.tags)).await?;
        let launch = |zone: String| Launch::new(zone.clone(), zone, |zone| self.create(order, zone));
        Ok(zones.into_iter().map(launch).collect())
    }

    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError> {
        let zone = &observed.listed.region;
        if let Some(name) = &observed.operation {
            let path = self.path(&format!("zones/{zone}/operations/{name}"));
            let operation: Operation = self
                .client
                .json(&Request::get(path, "look at how a create goes"))
                .await?;
            if let Some((kind, why)) = convert::failure(&operation) {
                return Ok(Some(ObservedInstance {
                    state: InstanceState::Failed { kind, why },
                    ..observed.clone()
                }));
            }
            if operation.status != "DONE" {
                return Ok(Some(observed.clone()));
            }
        }
        let path = self.path(&format!("zones/{zone}/instances/{}", observed.listed.id));
        match self
            .client
            .json::<Instance>(&Request::get(path, "look at a box"))
            .await
        {
            Ok(instance) => self.observed(&instance).await.map(Some),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        let filter = format!("name={}", order.tags.label);
        let found: Vec<Instance> = self.everywhere("instances", &filter, "look for a box").await?;
        let is_ours = |instance: &&Instance| tags::is_ours(&instance.labels);
        match found.iter().find(is_ours).or(found.first()) {
            Some(instance) => self.observed(instance).await.map(Some),
            None => Ok(None),
        }
    }

    async fn list(&self, _region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        const WHAT: &str = "list what is ours";
        let ours = format!("labels.{OURS}=true");
        let filter = match selector {
            Selector::AllOurs => ours,
            Selector::Label(label) => format!("({ours}) (labels.mvm-label={label})"),
            Selector::OfRun(label, run) => {
                format!("({ours}) (labels.mvm-label={label}) (labels.mvm-run={run})")
            }
        };
        let (instances, disks, firewalls) = try_join3(
            self.everywhere::<Instance>("instances", &filter, WHAT),
            self.everywhere::<Disk>("disks", &filter, WHAT),
            self.pages::<Firewall>("global/firewalls", WHAT),
        )
        .await?;
        let ours = |instance: &&Instance| tags::is_ours(&instance.labels);
        let instances = instances.iter().filter(ours).map(convert::listed_instance);
        let meant =
            |firewall: &&Firewall| tags::is_meant(&convert::described(&firewall.description), selector);
        let firewalls = firewalls
            .iter()
            .filter(meant)
            .filter_map(convert::listed_firewall);
        Ok(instances
            .chain(disks.iter().filter_map(convert::listed_disk))
            .chain(firewalls)
            .collect())
    }

    fn now(&self) -> Option<Timestamp> {
        self.client.now()
    }

    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError> {
        let Some(path) = self.thing_path(listed) else {
            let cause = format!("Google has no {} of ours", listed.kind);
            return Err(self.error(ErrorKind::Invalid, "destroy", cause));
        };
        let request = Request::new(Method::DELETE, path, "destroy");
        let request = match listed.kind {
            ResourceKind::Machine => request.query("noGracefulShutdown", true),
            _ => request,
        };
        self.client.send(&request).await?;
        Ok(())
    }

    fn retag(&self) -> Option<&dyn Retag> {
        Some(self)
    }

    fn preflight(&self) -> Option<&dyn Preflight> {
        Some(self)
    }

    fn prices(&self) -> Option<&dyn Prices> {
        Some(self)
    }

    fn console(&self) -> Option<&dyn Console> {
        Some(self)
    }
}

#[async_trait]
impl Retag for Gcp {
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        match listed.kind {
            ResourceKind::Machine => self.relabel(listed, tags).await,
            ResourceKind::Firewall => {
                let path = self.path(&format!("global/firewalls/{}", listed.id));
                let body = Redescribe {
                    description: convert::description(tags),
                };
                let request = Request::new(Method::PATCH, path, "move the deadline").json(&body);
                self.client.send(&request).await.map(|_| ())
            }
            // A disk goes with its box, which goes no later than before.
            _ => Ok(()),
        }
    }
}

impl Prices for Gcp {
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)> {
        Some((prices::hourly(instance_type, region)?, prices::DAY.to_owned()))
    }

    fn billed(&self) -> Billed {
        Billed::BY_SECOND
    }
}

#[async_trait]
impl Console for Gcp {
    async fn console(&self, label: &Label) -> Result<Vec<u8>, ProviderError> {
        let listed = self.list("", &Selector::Label(label.clone())).await?;
        let machine = listed.iter().find(|listed| listed.kind == ResourceKind::Machine);
        let gone = || {
            self.error(
                ErrorKind::NotFound,
                "read the console",
                format!("there is no box {label}"),
            )
        };
        Ok(self.serial(machine.ok_or_else(gone)?).await?.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use model::name::Token;

    use super::*;

    #[test]
    fn a_repeated_request_has_the_same_id_and_another_zone_another() {
        let token = Token::new("web-1").unwrap();
        let id = request_id(&token, "us-central1-a");
        assert_eq!(id, request_id(&token, "us-central1-a"));
        assert_ne!(id, request_id(&token, "us-central1-b"));
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    }

    #[test]
    fn a_zone_is_reported_from_a_region() {
        assert_eq!(
            split_place("us-central1-a"),
            ("us-central1", Some("us-central1-a"))
        );
        assert_eq!(split_place("us-central1"), ("us-central1", None));
    }
}
