//! Vultr: VX1 virtual machines, on which KVM was seen, and bare metal by the hour. The single calls; see README.md for
//! what surprised us.

mod convert;
mod environment;
mod plans;
mod preflight;
mod prices;
mod wire;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::future::{try_join, try_join_all, try_join3};
use model::{
    cloud::{CloudApi, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, ResourceKind},
    money::Money,
    order::Order,
    profile::{Profile, Ranges},
    render::own_firewall::with_own_firewall,
    selector::Selector,
    tags::{self, Tags},
    time::Timestamp,
    world::{Preflight, Prices},
};
use reqwest::Method;
use serde::de::DeserializeOwned;

pub(crate) use self::environment::ENTRY;
use self::wire::{
    CreateGroup, CreateKey, CreateRule, CreateServer, Group, Key, OneGroup, OneKey, OneServer, Os, Page,
    Plan, Redescribe, Rename, Rule, Server, VirtualOnly,
};
use crate::http::{Bearer, Client, PAGES_MAX, Request, RequestLog, Settings, rows};

/// Where the API answers.
pub const ENDPOINT: &str = "https://api.vultr.com/v2";

/// The operating system of an order that names none.
const OS: &str = "Ubuntu 24.04 LTS x64";

/// The longest page that the API gives.
const PAGE: u32 = 500;

/// What is tried in order.
const LADDER: [(&str, &str); 5] = [
    (plans::VIRTUAL, "ewr"),
    (plans::VIRTUAL, "ams"),
    (plans::METAL, "ewr"),
    (plans::METAL, "fra"),
    (plans::METAL, "ams"),
];

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "the box powers itself off at its deadline, which does not stop the bill: `twolane reap` has to delete it";

/// Vultr.
pub struct Vultr {
    client: Client,
    profile: Profile,
}

/// What is needed to use Vultr.
pub struct Access {
    /// The API key of an account or of a service user.
    pub token: String,
    /// Where the API answers, when that is not [`ENDPOINT`].
    pub endpoint: Option<String>,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
    /// How long one request may take; none: a minute.
    pub time_max: Option<Duration>,
}

impl Vultr {
    /// Makes a client of the API. Sends nothing.
    pub fn new(access: Access) -> Result<Self, ProviderError> {
        let profile = Profile {
            // There is neither a token nor a unique name: a second create makes a second box.
            is_create_repeatable: false,
            listing_lag: Duration::from_secs(5),
            ranges: Ranges::Ipv4,
            // Three of 37 bare-metal boxes that others measured took half an hour.
            up_max: |plan| Duration::from_secs(if plans::is_metal(plan) { 35 * 60 } else { 10 * 60 }),
            ..Profile::new("vultr", &LADDER, DEAD_MANS_SWITCH)
        };
        let client = Client::new(Settings {
            provider: profile.name.clone(),
            endpoint: access.endpoint.unwrap_or_else(|| ENDPOINT.to_owned()),
            authorize: Arc::new(Bearer::new(&access.token)),
            dialect: &convert::Words,
            log: access.log,
            time_max: access.time_max,
        })?;
        Ok(Self { client, profile })
    }

    /// Returns the id of the operating system that is asked for by name or by id.
    async fn os(&self, order: &Order) -> Result<u64, ProviderError> {
        const WHAT: &str = "look up the operating system";
        let wanted = order.candidate.image.as_deref().unwrap_or(OS);
        if let Ok(id) = wanted.parse() {
            return Ok(id);
        }
        let known: Vec<Os> = self.all("os", "os", WHAT).await?;
        if let Some(found) = known.iter().find(|os| os.name == wanted) {
            return Ok(found.id);
        }
        let alike: Vec<_> = known
            .iter()
            .filter(|os| os.name.starts_with("Ubuntu") || os.name.starts_with("Debian"))
            .map(|os| os.name.as_str())
            .collect();
        let cause = format!("there is no operating system `{wanted}`");
        let help = format!("write `image` as one of: {}", alike.join(", "));
        Err(self.error(ErrorKind::Invalid, WHAT, cause).with_help(help))
    }

    /// Makes the login key, or finds that an earlier try made it. Names need not be unique.
    async fn key(&self, order: &Order) -> Result<String, ProviderError> {
        let known: Vec<Key> = self.all("ssh-keys", "ssh_keys", "look for the login key").await?;
        let is_same = |key: &&Key| {
            convert::is_same(&key.name, &order.tags) && key.ssh_key.trim() == order.login_key.trim()
        };
        if let Some(found) = known.iter().find(is_same) {
            return Ok(found.id.clone());
        }
        let body = CreateKey {
            name: &convert::title(&order.tags),
            ssh_key: &order.login_key,
        };
        let request = Request::new(Method::POST, "/ssh-keys", "make the login key")
            .json(&body)
            .creates();
        Ok(self.client.json::<OneKey>(&request).await?.ssh_key.id)
    }

    /// Makes the firewall group with its rules, or completes what an earlier try made. A group drops what no rule lets in.
    async fn group(&self, order: &Order, ranges: &[(Ipv4Addr, u8)]) -> Result<String, ProviderError> {
        const LOOK: &str = "look for the firewall";
        let known: Vec<Group> = self.all("firewalls", "firewall_groups", LOOK).await?;
        let is_same = |group: &&Group| convert::is_same(&group.description, &order.tags);
        let (id, rules) = match known.iter().find(is_same) {
            Some(found) => {
                let rules = format!("firewalls/{}/rules", found.id);
                (found.id.clone(), self.all(&rules, "firewall_rules", LOOK).await?)
            }
            None => (self.new_group(order).await?, Vec::<Rule>::new()),
        };
        let is_missing = |wanted: &CreateRule| {
            !rules.iter().any(|rule| {
                rule.protocol.eq_ignore_ascii_case(wanted.protocol)
                    && rule.subnet == wanted.subnet
                    && rule.subnet_size == wanted.subnet_size
            })
        };
        let missing = ranges.iter().flat_map(rules_of).filter(is_missing);
        try_join_all(missing.map(|rule| self.rule(&id, rule))).await?;
        Ok(id)
    }

    async fn new_group(&self, order: &Order) -> Result<String, ProviderError> {
        let body = CreateGroup {
            description: &convert::title(&order.tags),
        };
        let request = Request::new(Method::POST, "/firewalls", "make the firewall")
            .json(&body)
            .creates();
        Ok(self.client.json::<OneGroup>(&request).await?.firewall_group.id)
    }

    async fn rule(&self, group: &str, rule: CreateRule) -> Result<(), ProviderError> {
        let path = format!("/firewalls/{group}/rules");
        let request = Request::new(Method::POST, path, "make the firewall").json(&rule);
        self.client.send(&request).await.map(|_| ())
    }

    /// Returns every server with our tag: virtual ones and bare metal.
    async fn servers(
        &self,
        selector: &Selector,
        operation: &'static str,
    ) -> Result<Vec<Server>, ProviderError> {
        let (mut servers, mut metal) = try_join(
            self.all::<Server>("instances", "instances", operation),
            self.all::<Server>("bare-metals", "bare_metals", operation),
        )
        .await?;
        for server in &mut metal {
            if server.plan.is_empty() {
                // Which list it is in decides where it is looked at and destroyed.
                server.plan = plans::METAL.to_owned();
            }
        }
        servers.extend(metal);
        servers.retain(|server| tags::is_meant(&convert::server_pairs(server), selector));
        Ok(servers)
    }

    /// Returns a whole list. All are filtered here: not every list can be asked for a tag.
    async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        list: &str,
        operation: &'static str,
    ) -> Result<Vec<T>, ProviderError> {
        let mut all = Vec::new();
        let mut cursor = None;
        for _ in 0..PAGES_MAX {
            let request = Request::get(format!("/{path}"), operation).query("per_page", PAGE);
            let request = match &cursor {
                Some(cursor) => request.query("cursor", cursor),
                None => request,
            };
            let page: Page = self.client.json(&request).await?;
            let found = page.lists.get(list).and_then(|found| found.as_array());
            let found = found
                .ok_or("it is missing".to_owned())
                .and_then(|found| rows(found));
            all.extend(found.map_err(|why| {
                let cause = format!("the list `{list}` is not what the API describes: {why}");
                self.client.garbled(&request, cause)
            })?);
            let next = page.meta.and_then(|meta| meta.links).and_then(|links| links.next);
            cursor = next.filter(|next| !next.is_empty());
            if cursor.is_none() {
                return Ok(all);
            }
        }
        let cause = format!("its list `{list}` has more than {PAGES_MAX} pages");
        Err(self
            .error(ErrorKind::Unavailable, operation, cause)
            .with_help("report it"))
    }

    /// Looks up a plan of either kind.
    async fn plan(&self, plan: &str) -> Result<Option<Plan>, ProviderError> {
        let (path, list) = match plans::is_metal(plan) {
            true => ("plans-metal", "plans_metal"),
            false => ("plans", "plans"),
        };
        let known: Vec<Plan> = self.all(path, list, "look up the plan").await?;
        Ok(known.into_iter().find(|known| known.id == plan))
    }

    /// Adds to a refusal where the plan is sold, as far as that can be found out.
    async fn with_places(&self, error: ProviderError, plan: &str) -> ProviderError {
        let Ok(Some(found)) = self.plan(plan).await else {
            return error;
        };
        let help = format!("{}; or use another plan", places(&found));
        error.with_help(help)
    }
}

/// Says where a plan is sold.
fn places(plan: &Plan) -> String {
    // The list may hold an empty name.
    let places: Vec<_> = plan
        .locations
        .iter()
        .map(String::as_str)
        .filter(|place| !place.is_empty())
        .collect();
    match places.is_empty() {
        true => format!("{} is sold out everywhere now", plan.id),
        false => format!("{} is available in {}", plan.id, places.join(", ")),
    }
}

/// Returns the rules for one range: SSH, and what path MTU discovery and a ping need.
fn rules_of(&(address, bits): &(Ipv4Addr, u8)) -> [CreateRule; 2] {
    let rule = |protocol, port| CreateRule {
        ip_type: "v4",
        protocol,
        subnet: address.to_string(),
        subnet_size: bits,
        port,
    };
    [rule("tcp", Some("22")), rule("icmp", None)]
}

/// Returns the list that servers of a plan are kept in, which is also its path.
fn list_of(plan: &str) -> &'static str {
    match plans::is_metal(plan) {
        true => "bare-metals",
        false => "instances",
    }
}

/// Returns the path of a thing; none for kinds that Vultr does not have.
fn path_of(listed: &Listed) -> Option<String> {
    let list = match listed.kind {
        ResourceKind::Machine => list_of(listed.instance_type.as_deref()?),
        ResourceKind::Key => "ssh-keys",
        ResourceKind::Firewall => "firewalls",
        ResourceKind::Disk
        | ResourceKind::Address
        | ResourceKind::Interface
        | ResourceKind::Group
        | ResourceKind::UserData
        | ResourceKind::Schedule
        | ResourceKind::Directory => return None,
    };
    Some(format!("/{list}/{}", listed.id))
}

/// The ids that a create call names.
#[derive(Clone)]
struct Prepared {
    os: u64,
    key: String,
    group: Option<String>,
}

/// Returns the ranges that may reach SSH. A box has no IPv6 address.
fn ranges(order: &Order) -> Vec<(Ipv4Addr, u8)> {
    let range = |text: &String| {
        let (address, bits) = text.split_once('/')?;
        Some((address.parse().ok()?, bits.parse().ok()?))
    };
    order.allow.iter().filter_map(range).collect()
}

impl Vultr {
    async fn create(&self, order: &Order, prepared: Prepared) -> Result<ObservedInstance, ProviderError> {
        let (plan, name) = (order.candidate.instance_type.as_str(), order.tags.label.as_str());
        let user_data = match plans::is_metal(plan) {
            true => STANDARD.encode(with_own_firewall(&order.user_data, &order.allow)),
            false => STANDARD.encode(&order.user_data),
        };
        let body = CreateServer {
            region: &order.candidate.region,
            plan,
            os_id: prepared.os,
            label: name,
            hostname: name,
            tags: convert::words(&order.tags),
            sshkey_id: vec![&prepared.key],
            user_data,
            user_scheme: "root",
            activation_email: false,
            enable_ipv6: false,
            virtual_only: prepared.group.as_deref().map(|firewall_group_id| VirtualOnly {
                firewall_group_id,
                backups: "disabled",
                ddos_protection: false,
            }),
        };
        let request = Request::new(Method::POST, format!("/{}", list_of(plan)), "create a box")
            .json(&body)
            .creates();
        match self.client.json::<OneServer>(&request).await {
            Ok(created) => Ok(convert::observed(&created.instance)),
            Err(error) if error.kind == ErrorKind::NoCapacity => Err(self.with_places(error, plan).await),
            Err(error) => Err(error),
        }
    }
}

#[async_trait]
impl CloudApi for Vultr {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        let unfit = plans::why_not(instance_type, need)?;
        Some(
            self.error(unfit.kind, "create a box", unfit.why)
                .with_help(unfit.help),
        )
    }

    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        let group = async {
            // Bare metal takes no firewall group.
            match plans::is_metal(&order.candidate.instance_type) {
                true => Ok(None),
                false => self.group(order, &ranges(order)).await.map(Some),
            }
        };
        let (os, key, group) = try_join3(self.os(order), self.key(order), group).await?;
        let prepared = Prepared { os, key, group };
        let launch = Launch::new(&order.candidate.region, prepared, |prepared| {
            self.create(order, prepared)
        });
        Ok(vec![launch])
    }

    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError> {
        let Some(path) = path_of(&observed.listed) else {
            return Ok(None);
        };
        let request = Request::get(path, "look at a box");
        match self.client.json::<OneServer>(&request).await {
            Ok(answer) => Ok(Some(convert::observed(&answer.instance))),
            Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Labels are not unique: one of the order's own run counts first.
    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        let selector = Selector::Label(order.tags.label.clone());
        let found = self.servers(&selector, "look for a box").await?;
        let found: Vec<_> = found.iter().map(convert::observed).collect();
        let is_own = |observed: &&ObservedInstance| {
            let tags = observed.listed.tags.as_ref();
            tags.is_some_and(|tags| tags.run == order.tags.run)
        };
        Ok(found.iter().find(is_own).or(found.first()).cloned())
    }

    async fn list(&self, _region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        const WHAT: &str = "list what is ours";
        let (servers, keys, groups) = try_join3(
            self.servers(selector, WHAT),
            self.all::<Key>("ssh-keys", "ssh_keys", WHAT),
            self.all::<Group>("firewalls", "firewall_groups", WHAT),
        )
        .await?;
        let thing = |kind, id: &str, title: &str| {
            tags::is_meant(&convert::titled(title), selector).then(|| convert::listed_thing(kind, id, title))
        };
        let keys = keys
            .iter()
            .filter_map(|key| thing(ResourceKind::Key, &key.id, &key.name));
        let groups = groups
            .iter()
            .filter_map(|group| thing(ResourceKind::Firewall, &group.id, &group.description));
        let servers = servers.iter().map(convert::listed_server);
        Ok(servers.chain(keys).chain(groups).collect())
    }

    fn now(&self) -> Option<Timestamp> {
        self.client.now()
    }

    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError> {
        let Some(path) = path_of(listed) else {
            let cause = format!("Vultr has no {} of ours", listed.kind);
            let help = "look for it in the Vultr console";
            return Err(self.error(ErrorKind::Invalid, "destroy", cause).with_help(help));
        };
        let request = Request::new(Method::DELETE, path, "destroy");
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
}

#[async_trait]
impl Retag for Vultr {
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        const WHAT: &str = "move the deadline";
        let Some(path) = path_of(listed) else {
            return Ok(());
        };
        let request = match listed.kind {
            ResourceKind::Key => Request::new(Method::PATCH, path, WHAT).json(&Rename {
                name: convert::title(tags),
            }),
            ResourceKind::Firewall => Request::new(Method::PUT, path, WHAT).json(&Redescribe {
                description: convert::title(tags),
            }),
            _ => Request::new(Method::PATCH, path, WHAT).json(&wire::Retag {
                tags: convert::words(tags),
            }),
        };
        self.client.send(&request).await.map(|_| ())
    }
}

#[async_trait]
impl Prices for Vultr {
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)> {
        Some((prices::hourly(instance_type, region)?, prices::DAY.to_owned()))
    }

    fn reports(&self) -> bool {
        true
    }

    async fn ask(&self, instance_type: &str, region: &str) -> Result<Option<Money>, ProviderError> {
        let plan = self.plan(instance_type).await?;
        Ok(plan.and_then(|plan| Money::of(plan.hourly_cost_in(region)?, "USD")))
    }
}
