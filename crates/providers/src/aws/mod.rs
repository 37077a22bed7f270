//! Amazon EC2: nested KVM on types whose processors can, or bare metal. The single calls; see README.md.

mod config_file;
mod convert;
mod credentials;
mod environment;
mod instance;
mod lookup;
mod network;
mod preflight;
mod wire;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::Engine;
use futures::future::{join_all, try_join4};
use model::{
    cloud::{CloudApi, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, ResourceKind},
    money::Money,
    name::Label,
    options::{OptionKey, TagRules, Takes},
    order::Order,
    price::Billed,
    profile::{Profile, Ranges},
    selector::Selector,
    tags::{OURS, Tags},
    time::Timestamp,
    world::{Console, Preflight, Prices},
};
use parking_lot::Mutex;
use reqwest::Method;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

pub use self::credentials::Identity;
pub(crate) use self::environment::ENTRY;
use self::{
    credentials::Signer,
    wire::{ConsoleOutput, Done, Groups, Interfaces, Params, Reservations, Volumes},
};
use crate::{
    http::{Body, Client, Effect, PAGES_MAX, Request, RequestLog, Settings, endless},
    kvm,
};

/// The region that is asked what concerns all.
pub(crate) const REGION: &str = "us-east-1";

/// The service, as endpoints and signatures name it.
const EC2: &str = "ec2";

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str =
    "the box powers itself off at its deadline, and AWS terminates it then, with its disk";

/// Amazon EC2, in all regions that the account has.
pub struct Aws {
    access: Access,
    client: Client,
    profile: Profile,
    clients: Mutex<BTreeMap<String, Arc<Client>>>,
    regions: OnceCell<Vec<String>>,
}

/// What is needed to use EC2.
pub struct Access {
    /// Who asks.
    pub identity: Arc<Identity>,
    /// The only certificates that count, where the company has its own.
    pub ca_bundle: Option<PathBuf>,
    /// The region of an order that names none.
    pub region: Option<String>,
    /// The security group to use instead of one of our own.
    pub group: Option<String>,
    /// The subnet to use instead of the default network's.
    pub subnet: Option<String>,
    /// Where the API of every region answers, when that is not AWS.
    pub endpoint: Option<String>,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
    /// How long one request may take; none: a minute.
    pub time_max: Option<Duration>,
}

impl Access {
    fn default_region(&self) -> &str {
        self.region.as_deref().unwrap_or(REGION)
    }
}

impl Aws {
    /// Makes a client of the API. Sends nothing.
    pub fn new(access: Access) -> Result<Self, ProviderError> {
        let profile = Profile {
            // The request carries a client token.
            is_create_repeatable: true,
            listing_lag: Duration::from_secs(5),
            goes_along: &[ResourceKind::Disk, ResourceKind::Interface],
            takes: Takes {
                keys: &[
                    OptionKey::Spot,
                    OptionKey::Tags,
                    OptionKey::Subnet,
                    OptionKey::SecurityGroup,
                    OptionKey::Address,
                    OptionKey::Jump,
                ],
                tags: TagRules {
                    count_max: 40,
                    lengths: (128, 256),
                    marks: " _.:/=+-@",
                    is_lower: false,
                    reserved: &["aws:"],
                },
                ..Takes::default()
            },
            ranges: if access.group.is_some() {
                Ranges::None
            } else {
                Ranges::Any
            },
            // Bare metal takes its time.
            up_max: |_| Duration::from_secs(20 * 60),
            ..Profile::new(
                "aws",
                &[("c8i.xlarge", access.default_region())],
                DEAD_MANS_SWITCH,
            )
        };
        let region = access.default_region().to_owned();
        let client = Client::new(Settings {
            provider: profile.name.clone(),
            endpoint: endpoint(&access, EC2, &region),
            authorize: Arc::new(Signer {
                identity: access.identity.clone(),
                service: EC2,
                region,
            }),
            dialect: &convert::Words,
            log: access.log.clone(),
            time_max: access.time_max,
        })?
        .trusting(access.ca_bundle.clone());
        Ok(Self {
            access,
            client,
            profile,
            clients: Mutex::default(),
            regions: OnceCell::new(),
        })
    }

    fn client(&self, region: &str) -> Result<Arc<Client>, ProviderError> {
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(region) {
            return Ok(client.clone());
        }
        let client = Arc::new(self.client_of(EC2, region)?);
        clients.insert(region.to_owned(), client.clone());
        Ok(client)
    }

    fn client_of(&self, service: &'static str, region: &str) -> Result<Client, ProviderError> {
        let signer = Signer {
            identity: self.access.identity.clone(),
            service,
            region: region.to_owned(),
        };
        let endpoint = endpoint(&self.access, service, region);
        self.client.at(&endpoint, Arc::new(signer))
    }

    /// Makes one call. `operation` says what for.
    async fn call<T: DeserializeOwned>(
        &self,
        region: &str,
        operation: &'static str,
        params: Params,
        effect: Effect,
    ) -> Result<T, ProviderError> {
        let mut request = Request::new(Method::POST, "/", operation);
        request.body = Body::Form(params.pairs);
        request.effect = effect;
        let client = self.client(region)?;
        let answer = client.send(&request).await?;
        quick_xml::de::from_reader(answer.body.as_slice()).map_err(|error| {
            client.garbled(
                &request,
                format!("the answer is not what its API describes: {error}"),
            )
        })
    }

    /// Reads a list, all pages.
    async fn all<T: DeserializeOwned + wire::Listed>(
        &self,
        region: &str,
        operation: &'static str,
        params: Params,
    ) -> Result<Vec<T::Row>, ProviderError> {
        let mut rows = Vec::new();
        let mut next = None;
        for _ in 0..PAGES_MAX {
            let page = match next {
                Some(token) => params.clone().set("NextToken", token),
                None => params.clone(),
            };
            let (found, token) = self
                .call::<T>(region, operation, page, Effect::Repeatable)
                .await?
                .page();
            rows.extend(found);
            next = token;
            if next.is_none() {
                return Ok(rows);
            }
        }
        Err(self.error(ErrorKind::Invalid, operation, endless()))
    }

    /// Lists one kind of thing, or all, in one region.
    async fn list_in(&self, region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        const WHAT: &str = "list what is ours";
        let params = |action: &str| meant(Params::new(action), selector);
        let instances = params("DescribeInstances").set("MaxResults", 1000);
        let (reservations, volumes, interfaces, groups) = try_join4(
            self.all::<Reservations>(region, WHAT, instances),
            self.all::<Volumes>(region, WHAT, params("DescribeVolumes").set("MaxResults", 500)),
            self.all::<Interfaces>(
                region,
                WHAT,
                params("DescribeNetworkInterfaces").set("MaxResults", 1000),
            ),
            self.all::<Groups>(
                region,
                WHAT,
                params("DescribeSecurityGroups").set("MaxResults", 1000),
            ),
        )
        .await?;
        let instances = reservations
            .iter()
            .flat_map(|reservation| &reservation.instances_set.item);
        let mut listed: Vec<_> = instances
            .filter(|instance| convert::ours(&instance.tag_set) && convert::is_there(instance))
            .map(|instance| convert::listed_instance(instance, region))
            .collect();
        let mut thing = |kind, id: &str, tags, state: Option<&str>| {
            if convert::ours(tags) {
                listed.push(convert::listed(kind, id, region, tags, state.unwrap_or("there")));
            }
        };
        for one in &volumes {
            thing(
                ResourceKind::Disk,
                &one.volume_id,
                &one.tag_set,
                one.status.as_deref(),
            );
        }
        for one in &interfaces {
            thing(
                ResourceKind::Interface,
                &one.network_interface_id,
                &one.tag_set,
                one.status.as_deref(),
            );
        }
        for one in &groups {
            thing(ResourceKind::Firewall, &one.group_id, &one.tag_set, None);
        }
        Ok(listed)
    }
}

fn endpoint(access: &Access, service: &str, region: &str) -> String {
    let aws = || {
        let end = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        format!("https://{service}.{region}.{end}")
    };
    access.endpoint.clone().unwrap_or_else(aws)
}

/// Adds our tags for every kind of thing that a call makes.
fn tagged(mut params: Params, kinds: &[&str], order: &Order) -> Params {
    let mut pairs = order.pairs();
    pairs
        .entry("Name".to_owned())
        .or_insert_with(|| order.tags.label.to_string());
    if order.candidate.options.private {
        // An instance does not say whether it will have a public address: until it runs, none has one.
        pairs.insert(convert::ADDRESS.to_owned(), convert::PRIVATE.to_owned());
    }
    for (index, kind) in kinds.iter().enumerate() {
        let specification = format!("TagSpecification.{}", index + 1);
        params = params.set(format!("{specification}.ResourceType"), kind);
        for (number, (key, value)) in pairs.iter().enumerate() {
            params = params.set(format!("{specification}.Tag.{}.Key", number + 1), key);
            params = params.set(format!("{specification}.Tag.{}.Value", number + 1), value);
        }
    }
    params
}

/// Adds the filters for what is meant.
fn meant(params: Params, selector: &Selector) -> Params {
    let params = params.filter(&format!("tag:{OURS}"), &["true"]);
    match selector {
        Selector::AllOurs => params,
        Selector::Label(label) => params.filter("tag:mvm-label", &[label.as_str()]),
        Selector::OfRun(label, run) => params
            .filter("tag:mvm-label", &[label.as_str()])
            .filter("tag:mvm-run", &[run.as_str()]),
    }
}

/// Splits a zone from its region: `us-east-1a` is in `us-east-1`. A region has no zone.
fn split_place(place: &str) -> (&str, Option<&str>) {
    match place.strip_suffix(|last: char| last.is_ascii_lowercase()) {
        Some(region) if region.ends_with(|last: char| last.is_ascii_digit()) => (region, Some(place)),
        _ => (place, None),
    }
}

#[async_trait]
impl CloudApi for Aws {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Only what can be reported from the name. Which types nest is asked of the API, before the create call.
    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        let is_metal = instance_type.contains(".metal");
        let cause = match need {
            KvmNeed::Metal if !is_metal => {
                format!("{instance_type} is no bare metal, and the lane asks for it")
            }
            KvmNeed::Nested if is_metal => {
                format!("{instance_type} is bare metal, and the lane asks for nested KVM")
            }
            _ => return None,
        };
        let help = "use c5.metal for bare metal, c8i.xlarge for nested KVM";
        Some(
            self.error(ErrorKind::NoKvm, "create a box", cause)
                .with_help(help),
        )
    }

    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        self.launches(order).await
    }

    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError> {
        let region = &observed.listed.region;
        let params = Params::new("DescribeInstances").set("InstanceId.1", &observed.listed.id);
        match self.all::<Reservations>(region, "look at a box", params).await {
            Ok(found) => {
                let instance = found
                    .iter()
                    .flat_map(|reservation| &reservation.instances_set.item)
                    .next();
                Ok(instance.map(|instance| convert::observed(instance, region)))
            }
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        let (region, _) = split_place(&order.candidate.region);
        let params = meant(
            Params::new("DescribeInstances"),
            &Selector::Label(order.tags.label.clone()),
        );
        let found = self.all::<Reservations>(region, "look for a box", params).await?;
        let instance = found
            .iter()
            .flat_map(|reservation| &reservation.instances_set.item)
            .find(|instance| convert::is_there(instance));
        Ok(instance.map(|instance| convert::observed(instance, region)))
    }

    /// AWS counts requests for each region apart, and a policy may deny one.
    async fn regions(&self) -> Result<Vec<String>, ProviderError> {
        self.all_regions().await.cloned()
    }

    fn region_of(&self, place: &str) -> String {
        split_place(place).0.to_owned()
    }

    async fn list(&self, region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        self.list_in(region, selector).await
    }

    fn now(&self) -> Option<Timestamp> {
        self.client.now()
    }

    fn expiry(&self) -> Option<Timestamp> {
        self.client.expiry()
    }

    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError> {
        let id = &listed.id;
        let params = match listed.kind {
            ResourceKind::Machine => {
                let params = Params::new("TerminateInstances").set("InstanceId.1", id);
                params.set("Force", true).set("SkipOsShutdown", true)
            }
            ResourceKind::Disk => Params::new("DeleteVolume").set("VolumeId", id),
            ResourceKind::Interface => Params::new("DeleteNetworkInterface").set("NetworkInterfaceId", id),
            ResourceKind::Firewall => Params::new("DeleteSecurityGroup").set("GroupId", id),
            ResourceKind::Address
            | ResourceKind::Key
            | ResourceKind::Group
            | ResourceKind::UserData
            | ResourceKind::Schedule
            | ResourceKind::Directory => {
                let cause = format!("AWS has no {} of ours", listed.kind);
                return Err(self.error(ErrorKind::Invalid, "destroy", cause));
            }
        };
        let Done {} = self
            .call(&listed.region, "destroy", params, Effect::Repeatable)
            .await?;
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
impl Retag for Aws {
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        let mut params = Params::new("CreateTags").set("ResourceId.1", &listed.id);
        for (index, (key, value)) in tags.pairs().into_iter().enumerate() {
            params = params.set(format!("Tag.{}.Key", index + 1), key);
            params = params.set(format!("Tag.{}.Value", index + 1), value);
        }
        self.call::<Done>(&listed.region, "move the deadline", params, Effect::Repeatable)
            .await
            .map(|Done {}| ())
    }
}

impl Prices for Aws {
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)> {
        kvm::hourly("aws", instance_type, split_place(region).0)
    }

    fn billed(&self) -> Billed {
        Billed::BY_SECOND
    }
}

#[async_trait]
impl Console for Aws {
    async fn console(&self, label: &Label) -> Result<Vec<u8>, ProviderError> {
        const WHAT: &str = "read the console";
        let selector = Selector::Label(label.clone());
        let regions = self.all_regions().await?;
        let lists = join_all(regions.iter().map(|region| self.list_in(region, &selector))).await;
        // A region that is denied has no box of ours.
        let listed: Vec<_> = lists.into_iter().flatten().flatten().collect();
        let machine = listed.iter().find(|listed| listed.kind == ResourceKind::Machine);
        let machine = machine
            .ok_or_else(|| self.error(ErrorKind::NotFound, WHAT, format!("there is no box {label}")))?;
        let params = |is_live: bool| {
            let params = Params::new("GetConsoleOutput").set("InstanceId", &machine.id);
            if is_live {
                params.set("Latest", true)
            } else {
                params
            }
        };
        let live = self
            .call::<ConsoleOutput>(&machine.region, WHAT, params(true), Effect::Repeatable)
            .await;
        let output = match live {
            Ok(output) => output,
            // Not every type shows its console live; what was kept is better than nothing.
            Err(_) => {
                self.call(&machine.region, WHAT, params(false), Effect::Repeatable)
                    .await?
            }
        };
        let text: String = output.output.split_whitespace().collect();
        let decoded = base64::engine::general_purpose::STANDARD.decode(text);
        decoded
            .map_err(|error| self.error(ErrorKind::Unavailable, WHAT, format!("it is not base64: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_reported_from_a_region() {
        assert_eq!(split_place("us-east-1a"), ("us-east-1", Some("us-east-1a")));
        assert_eq!(split_place("us-east-1"), ("us-east-1", None));
        assert_eq!(split_place("local"), ("local", None));
    }

    #[test]
    fn filters_and_tags_are_numbered() {
        let label = Label::new("web-1").unwrap();
        let params = meant(Params::new("DescribeInstances"), &Selector::Label(label));
        let text: Vec<_> = params
            .pairs
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            text[2..],
            [
                "Filter.1.Name=tag:mvm-ephemeral",
                "Filter.1.Value.1=true",
                "Filter.2.Name=tag:mvm-label",
                "Filter.2.Value.1=web-1",
            ]
        );
    }
}
