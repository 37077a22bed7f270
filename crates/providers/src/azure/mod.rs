//! Azure: nested KVM on most Intel and newer AMD sizes, each box in a resource group of its own. The single calls; see
//! README.md for what surprised us.

mod actions;
mod body;
mod convert;
mod credentials;
mod environment;
mod preflight;
mod schedule;
mod sizes;
mod wire;

use std::{net::IpAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::{join, try_join, try_join4};
use model::{
    cloud::{CloudApi, InstanceState, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, ResourceKind},
    money::Money,
    name::{Label, Token},
    options::{OptionKey, TagRules, Takes},
    order::Order,
    profile::{Profile, Ranges},
    selector::Selector,
    tags::{OURS, Tags},
    time::Timestamp,
    world::{Console, Preflight, Prices},
};
use reqwest::{Method, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::environment::ENTRY;
use self::{
    body::Paths,
    credentials::Realm,
    wire::{Diagnostics, Operation, Page, RetailPrices, Thing},
};
use crate::{
    http::{self, Authorize, Client, Nobody, PAGES_MAX, Request, RequestLog, Settings, endless},
    kvm,
};

/// The longest user-data that the API takes, in bytes.
const USER_DATA_MAX: usize = 65_535;

/// What is tried in order.
const LADDER: [(&str, &str); 5] = [
    (sizes::DEFAULT, "eastus"),
    ("Standard_D4as_v5", "eastus"),
    ("Standard_D4s_v3", "eastus"),
    (sizes::DEFAULT, "westeurope"),
    ("Standard_D4as_v5", "westeurope"),
];

/// What the names of our groups begin with.
const GROUP: &str = "twolane-";

/// The part of the API that a path belongs to has its own version.
const RESOURCES: &str = "2021-04-01";
const NETWORK: &str = "2024-05-01";
/// The first that takes the security type `Standard` by name without a feature switched on in the subscription.
const COMPUTE: &str = "2025-11-01";
const SKUS: &str = "2021-07-01";
const DISKS: &str = "2024-03-02";

/// What is made for a box and listed by itself, with Azure's word for it.
const PARTS: [(ResourceKind, &str); 4] = [
    (ResourceKind::Disk, "Microsoft.Compute/disks"),
    (ResourceKind::Interface, "Microsoft.Network/networkInterfaces"),
    (ResourceKind::Address, "Microsoft.Network/publicIPAddresses"),
    (ResourceKind::Firewall, "Microsoft.Network/networkSecurityGroups"),
];

fn part_of(kind: &str) -> Option<(ResourceKind, &'static str)> {
    PARTS
        .into_iter()
        .find(|(_, word)| word.eq_ignore_ascii_case(kind))
}

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "if the deadline is less than a day away, a schedule at Azure deallocates the box then, which ends what its size \
     costs; `twolane reap` has to delete its resource group with the disk and the address, and any box that lives longer";

/// Azure, in one subscription.
pub struct Azure {
    client: Client,
    profile: Profile,
    endpoint: Url,
    subscription: String,
    /// Where the retail prices are, which anybody may read.
    prices: Option<Client>,
}

/// What is needed to use Azure.
pub struct Access {
    /// The id of the subscription that boxes are made in.
    pub subscription: String,
    /// How a request proves who asks.
    pub authorize: Arc<dyn Authorize>,
    /// Where the API answers, when that is not Azure's public cloud.
    pub endpoint: Option<String>,
    /// Where the retail prices are: Azure's public cloud has some.
    pub prices: Option<String>,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
    /// How long one request may take; none: a minute.
    pub time_max: Option<Duration>,
}

impl Azure {
    /// Makes a client of the API. Sends nothing.
    pub fn new(access: Access) -> Result<Self, ProviderError> {
        let profile = Profile {
            // The same names and the same body make the same things.
            is_create_repeatable: true,
            listing_lag: Duration::from_secs(10),
            // A box of ours goes with its whole group.
            goes_along: &[
                ResourceKind::Group,
                ResourceKind::Schedule,
                ResourceKind::Disk,
                ResourceKind::Interface,
            ],
            user_data_max: USER_DATA_MAX,
            takes: Takes {
                keys: &[
                    OptionKey::Spot,
                    OptionKey::Tags,
                    OptionKey::Subnet,
                    OptionKey::ResourceGroup,
                    OptionKey::Address,
                    OptionKey::Jump,
                ],
                is_alone: true,
                tags: TagRules {
                    count_max: 40,
                    // A disk's are shorter than those of the other things.
                    lengths: (128, 256),
                    marks: " _.:=+-@",
                    is_lower: false,
                    reserved: &["microsoft", "azure", "windows"],
                },
            },
            ranges: Ranges::Ipv4,
            // A group takes up to a quarter of an hour to go.
            gone_max: Duration::from_secs(20 * 60),
            ..Profile::new("azure", &LADDER, DEAD_MANS_SWITCH)
        };
        let endpoint = access
            .endpoint
            .unwrap_or_else(|| Realm::Public.endpoint().to_owned());
        let client = Client::new(Settings {
            provider: profile.name.clone(),
            endpoint: endpoint.clone(),
            authorize: access.authorize,
            dialect: &convert::Words,
            log: access.log,
            time_max: access.time_max,
        })?;
        let prices = access.prices.map(|at| client.at(&at, Arc::new(Nobody)));
        Ok(Self {
            prices: prices.transpose()?,
            client,
            profile,
            endpoint: Url::parse(&endpoint).expect("the client has read it"),
            subscription: access.subscription,
        })
    }

    fn path(&self, rest: &str) -> String {
        format!("/subscriptions/{}/{rest}", self.subscription)
    }

    fn group_path(&self, group: &str) -> String {
        self.path(&format!("resourcegroups/{group}"))
    }

    fn machine_path(&self, group: &str, name: &str) -> String {
        self.path(&format!(
            "resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}"
        ))
    }

    /// Returns the paths of what is made beside the box: an attempt's names are its own.
    fn paths(&self, order: &Order) -> Paths {
        let group = group_for(order);
        let of = |kind: &str| self.network_thing(&group, &order.tags.token, kind);
        let given = order.candidate.options.subnet.clone();
        let network = given.is_none().then(|| of("virtualNetworks"));
        let subnet = network.as_ref().map(|network| format!("{network}/subnets/box"));
        Paths {
            firewall: of("networkSecurityGroups"),
            subnet: given.or(subnet).unwrap_or_default(),
            network,
            address: of("publicIPAddresses"),
            interface: of("networkInterfaces"),
        }
    }

    /// Returns the path of something of a box's network. In a group that holds other things it has a name of its own.
    fn network_thing(&self, group: &str, token: &Token, kind: &str) -> String {
        let name = match is_named_by_us(group) {
            true => "box".to_owned(),
            false => group_of(token),
        };
        self.path(&format!(
            "resourceGroups/{group}/providers/Microsoft.Network/{kind}/{name}"
        ))
    }

    /// Looks whether what is to be there already is there, and where the box is to be. Makes nothing.
    async fn check_given(&self, order: &Order) -> Result<(), ProviderError> {
        const WHAT: &str = "look at what is there already";
        let options = &order.candidate.options;
        let region = &order.candidate.region;
        let refuse =
            |cause: String, help: &str| Err(self.error(ErrorKind::Invalid, WHAT, cause).with_help(help));
        if let Some(group) = options
            .resource_group
            .as_ref()
            .filter(|group| is_named_by_us(group))
        {
            let cause = format!(
                "resource groups whose names begin with `{GROUP}`, as {group} does, are twolane's own"
            );
            return refuse(cause, "name another, or leave `resource-group` away");
        }
        if let Some(group) = &options.resource_group
            && self
                .thing(&self.group_path(group), RESOURCES, WHAT)
                .await?
                .is_none()
        {
            let help = "`az group list` shows those that are there; twolane makes one of its own where none is named";
            return refuse(format!("there is no resource group {group}"), help);
        }
        let Some(subnet) = &options.subnet else {
            return Ok(());
        };
        let network = subnet.split_once("/subnets/").map(|(network, _)| network);
        let Some(network) = network.filter(|network| network.starts_with("/subscriptions/")) else {
            let help = "write it whole: /subscriptions/ID/resourceGroups/GROUP/providers/Microsoft.Network/virtualNetworks/\
                        NETWORK/subnets/NAME, as `az network vnet subnet list` shows it";
            return refuse(format!("`{subnet}` is not the id of a subnet"), help);
        };
        match self.thing(network, NETWORK, WHAT).await? {
            None => refuse(
                format!("there is no network {network}"),
                "`az network vnet list` shows those that are there",
            ),
            Some(found) if found.location.eq_ignore_ascii_case(region) => Ok(()),
            Some(found) => {
                let place = &found.location;
                let cause = format!(
                    "subnet {subnet} is in {place} and the box in {region}, and a subnet serves its own region"
                );
                refuse(
                    cause,
                    &format!("write `region = \"{place}\"`, or name a subnet of {region}"),
                )
            }
        }
    }

    async fn thing(
        &self,
        path: &str,
        version: &str,
        operation: &'static str,
    ) -> Result<Option<Thing>, ProviderError> {
        let request = Request::get(path, operation).query("api-version", version);
        match self.client.json(&request).await {
            Ok(thing) => Ok(Some(thing)),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes what the box refers to, or finds that it is made. What is still being made is `Unavailable`: what refers
    /// to it would be refused.
    async fn ensure(
        &self,
        path: &str,
        version: &str,
        body: &Value,
        operation: &'static str,
    ) -> Result<(), ProviderError> {
        let thing = match self.thing(path, version, operation).await? {
            Some(thing) => thing,
            None => {
                let request = Request::new(Method::PUT, path, operation)
                    .query("api-version", version)
                    .json(body);
                // The group that it is made in was made just now.
                self.client.json(&request).await.map_err(ProviderError::not_yet)?
            }
        };
        let state = thing.properties.provisioning_state.unwrap_or_default();
        match state.as_str() {
            "Succeeded" => Ok(()),
            "Failed" | "Canceled" => {
                let cause = format!("what was made for the box is {state}");
                Err(self.error(ErrorKind::NoCapacity, operation, cause))
            }
            _ => Err(self.error(ErrorKind::Unavailable, operation, format!("it is still {state}"))),
        }
    }

    /// Returns a whole list, page by page.
    async fn all<T: DeserializeOwned>(&self, first: Request) -> Result<Vec<T>, ProviderError> {
        let mut rows = Vec::new();
        let mut request = first;
        for _ in 0..PAGES_MAX {
            let page: Page = self.client.json(&request).await?;
            let read = http::rows(&page.value);
            rows.extend(read.map_err(|why| self.client.garbled(&request, why))?);
            let Some(link) = page.next_link.filter(|link| !link.is_empty()) else {
                return Ok(rows);
            };
            let next = self.follow(Method::GET, &link, request.operation);
            request = next.ok_or_else(|| {
                let cause = "the next page of the list is said to be elsewhere".to_owned();
                self.client.garbled(&request, cause)
            })?;
        }
        Err(self.error(ErrorKind::Invalid, request.operation, endless()))
    }

    /// Makes a request of an address that an answer named. None when it leads elsewhere: the token stays here.
    fn follow(&self, method: Method, link: &str, operation: &'static str) -> Option<Request> {
        let url = Url::parse(link)
            .ok()
            .filter(|url| url.origin() == self.endpoint.origin())?;
        let path = url
            .path()
            .strip_prefix(self.endpoint.path().trim_end_matches('/'))?;
        let mut request = Request::new(method, path, operation);
        request.query = url.query_pairs().into_owned().collect();
        Some(request)
    }

    /// Looks at a box; once it runs, at its address too, and whether Azure will end it.
    async fn machine(&self, group: &str, name: &str) -> Result<Option<ObservedInstance>, ProviderError> {
        let request = Request::get(self.machine_path(group, name), "look at a box")
            .query("api-version", COMPUTE)
            .query("$expand", "instanceView");
        let machine: Thing = match self.client.json(&request).await {
            Ok(machine) => machine,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut listed, state) = (
            convert::listed(ResourceKind::Machine, &machine),
            convert::state(&machine),
        );
        if state == InstanceState::Running {
            let token = listed.tags.as_ref().map(|tags| tags.token.clone());
            let token = token.unwrap_or_else(|| Token::new("box").expect("it keeps to the rule"));
            let address = self.address(group, &token);
            let all = machine.tags.unwrap_or_default();
            let (address, ()) = try_join(address, self.ensure_schedule(&listed, &all)).await?;
            listed.address = address;
        }
        Ok(Some(ObservedInstance {
            listed,
            state,
            host_key: None,
            operation: None,
        }))
    }

    /// Returns the address of a box that runs: the public one, or that of an interface which is to have none.
    async fn address(&self, group: &str, token: &Token) -> Result<Option<IpAddr>, ProviderError> {
        const WHAT: &str = "look at a box's address";
        let path = |kind| self.network_thing(group, token, kind);
        let parsed = |text: Option<String>| text.and_then(|text| text.parse().ok());
        if let Some(address) = self.thing(&path("publicIPAddresses"), NETWORK, WHAT).await? {
            return Ok(parsed(address.properties.ip_address));
        }
        let interface = self.thing(&path("networkInterfaces"), NETWORK, WHAT).await?;
        let configurations = interface.map(|interface| interface.properties.ip_configurations);
        let first = configurations.into_iter().flatten().next();
        let first = first
            .map(|configuration| configuration.properties)
            .unwrap_or_default();
        // One that is not found yet is no private box.
        let private = first
            .private_ip_address
            .filter(|_| first.public_ip_address.is_none());
        Ok(parsed(private))
    }

    /// Asks why a create failed, where its answer named whom to ask.
    async fn why_failed(&self, operation: Option<&String>) -> Option<InstanceState> {
        let request = self.follow(Method::GET, operation?, "look at how a create goes")?;
        let reported: Operation = self.client.json(&request).await.ok()?;
        let error = convert::reported(&reported.error?);
        Some(convert::failed(&error.code, &error.message))
    }

    async fn machines(
        &self,
        selector: &Selector,
        operation: &'static str,
    ) -> Result<Vec<Thing>, ProviderError> {
        let path = self.path("providers/Microsoft.Compute/virtualMachines");
        let request = Request::get(path, operation).query("api-version", COMPUTE);
        let mut machines: Vec<Thing> = self.all(request).await?;
        machines.retain(|machine| convert::is_meant(&machine.tags, selector));
        Ok(machines)
    }

    async fn groups(&self, selector: &Selector) -> Result<Vec<Thing>, ProviderError> {
        let request = Request::get(self.path("resourcegroups"), "list what is ours")
            .query("api-version", RESOURCES)
            .query("$filter", format!("tagName eq '{OURS}' and tagValue eq 'true'"));
        let mut groups: Vec<Thing> = self.all(request).await?;
        groups.retain(|group| is_named_by_us(&group.name) && convert::is_meant(&group.tags, selector));
        Ok(groups)
    }

    /// Lists what was made for boxes in groups that were there already. In a group of ours all goes with the group.
    async fn parts(&self, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        let request = Request::get(self.path("resources"), "list what is ours")
            .query("api-version", RESOURCES)
            .query("$filter", format!("tagName eq '{OURS}' and tagValue eq 'true'"));
        let things: Vec<Thing> = self.all(request).await?;
        let part = |thing: &Thing| {
            let (kind, _) = part_of(&thing.kind)?;
            let id = convert::id_of(thing);
            (!is_named_by_us(&id) && convert::is_meant(&thing.tags, selector)).then(|| Listed {
                id,
                ..convert::listed(kind, thing)
            })
        };
        Ok(things.iter().filter_map(part).collect())
    }

    /// Returns the path of something that was made for a box in a group that was there already, and its version.
    fn part_path(&self, listed: &Listed) -> Option<(String, &'static str)> {
        let (_, kind) = PARTS.iter().find(|(kind, _)| *kind == listed.kind)?;
        let (group, name) = listed.id.split_once('/')?;
        let path = self.path(&format!("resourceGroups/{group}/providers/{kind}/{name}"));
        let version = if listed.kind == ResourceKind::Disk {
            DISKS
        } else {
            NETWORK
        };
        Some((path, version))
    }

    /// Looks for the box of an attempt by its own name, which no list has to know yet.
    async fn find_own(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        self.machine(&group_for(order), order.tags.label.as_str()).await
    }

    /// Looks for the box of a label in the list; one of the order's own run counts first.
    async fn find_listed(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        let selector = Selector::Label(order.tags.label.clone());
        let found = self.machines(&selector, "look for a box").await?;
        let is_own = |machine: &&Thing| {
            let run = machine.tags.as_ref().and_then(|tags| tags.get("mvm-run"));
            run.is_some_and(|run| run == order.tags.run.as_str())
        };
        let Some(machine) = found.iter().find(is_own).or(found.first()) else {
            return Ok(None);
        };
        let id = convert::id_of(machine);
        let (group, name) = id.split_once('/').unwrap_or_default();
        self.machine(group, name).await
    }

    async fn destroy(&self, path: String, query: (&str, &str), version: &str) -> Result<(), ProviderError> {
        let request = Request::new(Method::DELETE, path, "destroy")
            .query("api-version", version)
            .query(query.0, query.1);
        self.client.send(&request).await?;
        Ok(())
    }

    /// Destroys a group with all that is in it.
    async fn destroy_group(&self, group: &str) -> Result<(), ProviderError> {
        let force = ("forceDeletionTypes", "Microsoft.Compute/virtualMachines");
        self.destroy(self.group_path(group), force, RESOURCES).await
    }

    /// Destroys a box: with its whole group, where that is one of ours and so holds nothing else.
    async fn destroy_machine(&self, listed: &Listed) -> Result<(), ProviderError> {
        let (group, name) = listed.id.split_once('/').unwrap_or_default();
        let found = self.thing(&self.group_path(group), RESOURCES, "destroy").await?;
        let is_ours =
            |found: &Thing| is_named_by_us(&found.name) && convert::is_meant(&found.tags, &Selector::AllOurs);
        match found {
            None => Ok(()),
            Some(found) if is_ours(&found) => self.destroy_group(group).await,
            Some(_) => {
                let path = self.machine_path(group, name);
                self.destroy(path, ("forceDeletion", "true"), COMPUTE).await
            }
        }
    }
}

/// Returns the name of an attempt's group. Each attempt has its own: what an attempt that failed had may stay reserved
/// for minutes.
fn group_of(token: &Token) -> String {
    format!("{GROUP}{token}")
}

/// Returns the group that an order's box is to be in.
fn group_for(order: &Order) -> String {
    let given = order.candidate.options.resource_group.clone();
    given.unwrap_or_else(|| group_of(&order.tags.token))
}

/// Returns whether a group has a name that we give: tags alone may have come from a policy of the subscription.
fn is_named_by_us(group: &str) -> bool {
    group.to_lowercase().starts_with(GROUP)
}

impl Azure {
    async fn create(&self, order: &Order) -> Result<ObservedInstance, ProviderError> {
        let path = self.machine_path(&group_for(order), order.tags.label.as_str());
        let user_data = STANDARD.encode(&order.user_data);
        let request = Request::new(Method::PUT, path, "create a box")
            .query("api-version", COMPUTE)
            .json(&body::machine(order, &self.paths(order), &user_data))
            .creates();
        let sent = self.client.send(&request).await;
        // All that it names was made a moment ago.
        let answer = sent.map_err(ProviderError::not_yet)?;
        let machine: Thing = serde_json::from_slice(&answer.body).map_err(|error| {
            let cause = format!("the answer is not what its API describes ({error})");
            self.client.garbled(&request, cause)
        })?;
        let operation = answer.headers.get("azure-asyncoperation");
        let state = match convert::state(&machine) {
            // Its address is not looked at here.
            InstanceState::Running => InstanceState::Pending,
            state => state,
        };
        let listed = convert::listed(ResourceKind::Machine, &machine);
        // It is looked for once more before the box counts as running.
        let _ = self.set_schedule(&listed, &order.tags, &order.pairs()).await;
        Ok(ObservedInstance {
            listed,
            state,
            host_key: None,
            operation: operation.and_then(|value| value.to_str().ok()).map(str::to_owned),
        })
    }
}

#[async_trait]
impl CloudApi for Azure {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        let (cause, help) = sizes::why_not(instance_type, need)?;
        Some(
            self.error(ErrorKind::NoKvm, "create a box", cause)
                .with_help(help),
        )
    }

    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        let paths = self.paths(order);
        self.check_given(order).await?;
        if order.candidate.options.resource_group.is_none() {
            let group = self.group_path(&group_for(order));
            self.ensure(&group, RESOURCES, &body::group(order), "make the resource group")
                .await?;
        }
        let (firewall, address) = (body::firewall(order), body::address(order));
        let address = async {
            match order.candidate.options.private {
                true => Ok(()),
                false => {
                    self.ensure(&paths.address, NETWORK, &address, "make the address")
                        .await
                }
            }
        };
        let firewall = self.ensure(&paths.firewall, NETWORK, &firewall, "make the firewall");
        try_join(firewall, address).await?;
        if let Some(path) = &paths.network {
            let network = body::network(order, &paths);
            self.ensure(path, NETWORK, &network, "make the network").await?;
        }
        let interface = body::interface(order, &paths);
        self.ensure(&paths.interface, NETWORK, &interface, "make the interface")
            .await?;
        // All names follow from the order.
        let launch = Launch::new(&order.candidate.region, (), |()| self.create(order));
        Ok(vec![launch])
    }

    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError> {
        let (group, name) = observed.listed.id.split_once('/').unwrap_or_default();
        let Some(seen) = self.machine(group, name).await? else {
            return Ok(None);
        };
        let why = match &seen.state {
            InstanceState::Failed { kind, .. } if *kind != ErrorKind::NoKvm => {
                self.why_failed(observed.operation.as_ref()).await
            }
            _ => None,
        };
        Ok(Some(ObservedInstance {
            state: why.unwrap_or(seen.state),
            operation: observed.operation.clone(),
            ..seen
        }))
    }

    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        let (own, listed) = join(self.find_own(order), self.find_listed(order)).await;
        match own? {
            Some(own) => Ok(Some(own)),
            None => listed,
        }
    }

    async fn list(&self, _region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        let (machines, groups, mut schedules, parts) = try_join4(
            self.machines(selector, "list what is ours"),
            self.groups(selector),
            self.schedules(),
            self.parts(selector),
        )
        .await?;
        schedules.retain(|schedule| convert::is_meant(&schedule.tags, selector));
        let machines = machines
            .iter()
            .map(|thing| convert::listed(ResourceKind::Machine, thing));
        let groups = groups
            .iter()
            .map(|thing| convert::listed(ResourceKind::Group, thing));
        let schedules = schedules
            .iter()
            .map(|thing| convert::listed(ResourceKind::Schedule, thing));
        Ok(machines.chain(groups).chain(schedules).chain(parts).collect())
    }

    fn now(&self) -> Option<Timestamp> {
        self.client.now()
    }

    fn expiry(&self) -> Option<Timestamp> {
        self.client.expiry()
    }

    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError> {
        match listed.kind {
            ResourceKind::Machine => self.destroy_machine(listed).await,
            ResourceKind::Group => self.destroy_group(&listed.id).await,
            ResourceKind::Schedule => self.delete_schedule(&listed.id).await,
            kind => match self.part_path(listed) {
                Some((path, version)) => {
                    let request = Request::new(Method::DELETE, path, "destroy").query("api-version", version);
                    self.client.send(&request).await.map(|_| ())
                }
                None => {
                    let cause = format!("Azure has no {kind} of ours");
                    Err(self.error(ErrorKind::Invalid, "destroy", cause))
                }
            },
        }
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
impl Retag for Azure {
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        let (group, name) = listed.id.split_once('/').unwrap_or((&listed.id, ""));
        let (path, version) = match listed.kind {
            ResourceKind::Machine => {
                self.move_schedule(listed, tags).await?;
                (self.machine_path(group, name), COMPUTE)
            }
            // It was set with its box.
            ResourceKind::Schedule => return Ok(()),
            _ => self
                .part_path(listed)
                .unwrap_or_else(|| (self.group_path(group), RESOURCES)),
        };
        const WHAT: &str = "move the deadline";
        // What is sent replaces all tags, those of the user and of a policy too.
        let found = self.thing(&path, version, WHAT).await?;
        let mut pairs = found.and_then(|found| found.tags).unwrap_or_default();
        pairs.extend(tags.pairs());
        let request = Request::new(Method::PATCH, path, WHAT)
            .query("api-version", version)
            .json(&json!({"tags": pairs}));
        self.client.send(&request).await.map(|_| ())
    }
}

#[async_trait]
impl Prices for Azure {
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)> {
        kvm::hourly("azure", instance_type, region)
    }

    fn reports(&self) -> bool {
        self.prices.is_some()
    }

    async fn ask(&self, instance_type: &str, region: &str) -> Result<Option<Money>, ProviderError> {
        let Some(client) = &self.prices else {
            return Ok(None);
        };
        let is_name = |word: &str| word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name(instance_type) || !is_name(region) {
            return Ok(None);
        }
        let filter = format!(
            "serviceName eq 'Virtual Machines' and priceType eq 'Consumption' and armRegionName eq '{region}' \
             and armSkuName eq '{instance_type}'"
        );
        let request = Request::get("/api/retail/prices", "ask for the price").query("$filter", filter);
        let found: RetailPrices = client.json(&request).await?;
        Ok(found.hourly())
    }
}

#[async_trait]
impl Console for Azure {
    /// Azure keeps it as a file elsewhere, at an address that is its own permission: no token goes there.
    async fn console(&self, label: &Label) -> Result<Vec<u8>, ProviderError> {
        const WHAT: &str = "read the console";
        let selector = Selector::Label(label.clone());
        let found = self.machines(&selector, WHAT).await?;
        let missing = || self.error(ErrorKind::NotFound, WHAT, format!("there is no box {label}"));
        let id = convert::id_of(found.first().ok_or_else(missing)?);
        let (group, name) = id.split_once('/').unwrap_or_default();
        let path = format!("{}/retrieveBootDiagnosticsData", self.machine_path(group, name));
        let request = Request::new(Method::POST, path, WHAT)
            .query("api-version", COMPUTE)
            .query("sasUriExpirationTimeInMinutes", 5);
        let reported: Diagnostics = self.client.json(&request).await?;
        let none = || self.error(ErrorKind::NotFound, WHAT, "the box has not written anything yet");
        let link = reported.serial_console_log_blob_uri.ok_or_else(none)?;
        let url = Url::parse(&link).map_err(|_| self.client.garbled(&request, "no address".to_owned()))?;
        let store = self
            .client
            .at(&url.origin().ascii_serialization(), Arc::new(Nobody))?;
        let mut request = Request::get(url.path(), WHAT);
        request.query = url.query_pairs().into_owned().collect();
        Ok(store.send(&request).await?.body)
    }
}
