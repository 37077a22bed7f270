//! Google Compute Engine: nested KVM on most Intel types. The single calls; see README.md for what surprised us.

mod convert;
mod credentials;
mod environment;
mod instance;
mod lookup;
mod network;
mod preflight;
mod series;
mod wire;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::{try_join, try_join3};
use model::{
    cloud::{CloudApi, InstanceState, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, Machine, ResourceKind},
    money::Money,
    name::Label,
    options::{OptionKey, TagRules, Takes},
    order::Order,
    price::Billed,
    profile::{Profile, Ranges},
    selector::Selector,
    tags::{self, OURS, Tags},
    time::Timestamp,
    world::{Console, Preflight, Prices},
};
use reqwest::Method;
use sha2::{Digest, Sha256};

use self::credentials::DefaultCredentials;
pub(crate) use self::environment::ENTRY;
use self::wire::{Disk, Firewall, Instance, Operation, Redescribe};
use crate::{
    http::{Authorize, Client, Request, RequestLog, Settings},
    kvm,
};

/// Where the API answers.
pub const ENDPOINT: &str = "https://compute.googleapis.com/compute/v1";

/// The longest value of one piece of metadata, in bytes.
const USER_DATA_MAX: usize = 256 * 1024;

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "Google deletes the box at its deadline; its two firewall rules, which cost nothing, stay until `twolane reap`";

/// Compute Engine, in one project.
pub struct Gcp {
    client: Client,
    profile: Profile,
    project: String,
    network: Option<String>,
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
            goes_along: &[ResourceKind::Disk],
            user_data_max: USER_DATA_MAX,
            takes: Takes {
                keys: &[
                    OptionKey::Spot,
                    OptionKey::Tags,
                    OptionKey::Network,
                    OptionKey::Subnet,
                    OptionKey::Address,
                    OptionKey::Jump,
                ],
                tags: TagRules {
                    count_max: 50,
                    lengths: (63, 63),
                    marks: "_-",
                    is_lower: true,
                    reserved: &["goog"],
                },
                ..Takes::default()
            },
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
        Ok(Self {
            client,
            profile,
            project: access.project,
            network: access.network,
            subnetwork: access.subnetwork,
        })
    }

    fn path(&self, rest: &str) -> String {
        format!("/projects/{}/{rest}", self.project)
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
            | ResourceKind::Schedule
            | ResourceKind::Directory => return None,
        };
        Some(self.path(&rest))
    }
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

/// Splits a zone from its region: `us-central1-a` is in `us-central1`. A region has no zone.
fn split_place(place: &str) -> (&str, Option<&str>) {
    match place.rsplit_once('-') {
        Some((region, letter)) if letter.len() == 1 => (region, Some(place)),
        _ => (place, None),
    }
}

#[async_trait]
impl CloudApi for Gcp {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        let (cause, help) = series::why_not(instance_type, need)?;
        Some(
            self.error(ErrorKind::NoKvm, "create a box", cause)
                .with_help(help),
        )
    }

    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        let (zones, wiring) = try_join(self.zones(order), self.wiring(order)).await?;
        if let Some(network) = wiring.network.as_ref().filter(|_| !wiring.is_shared) {
            let [allow, deny] = self.rules(order, network);
            try_join(self.rule(&allow, &order.tags), self.rule(&deny, &order.tags)).await?;
        }
        let launch = |zone: String| {
            let place = (zone.clone(), wiring.clone());
            Launch::new(zone, place, |place| self.create(order, place))
        };
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

    fn expiry(&self) -> Option<Timestamp> {
        self.client.expiry()
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

    async fn why_ended(&self, machine: &Machine) -> Option<String> {
        self.preemption(machine).await
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
        // The table names one zone of a region, and all of them have one price.
        let zone = format!("{}-a", split_place(region).0);
        kvm::hourly("gcp", instance_type, &zone)
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
