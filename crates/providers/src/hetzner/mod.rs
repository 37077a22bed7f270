//! Hetzner Cloud: the cheap lane, as no type of it has KVM. The single calls; see README.md for what surprised us.

mod convert;
mod environment;
mod preflight;
mod prices;
mod wire;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::{try_join, try_join_all, try_join5};
use model::{
    cloud::{CloudApi, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, ResourceKind},
    money::Money,
    options::{OptionKey, TagRules, Takes},
    order::Order,
    profile::Profile,
    selector::Selector,
    tags::{OURS, Tags},
    time::Timestamp,
    world::{Preflight, Prices},
};
use reqwest::Method;
use serde::de::DeserializeOwned;

pub(crate) use self::environment::ENTRY;
use self::wire::{
    Action, CreateFirewall, CreateServer, CreateSshKey, CreatedServer, Firewall, FirewallRef, Labels,
    OneFirewall, OneServer, Page, PublicNetRequest, Rule, Server, ServerType, SshKey, Thing,
};
use crate::http::{Bearer, Client, PAGES_MAX, Request, RequestLog, Settings, rows};

/// Where the API answers.
pub const ENDPOINT: &str = "https://api.hetzner.cloud/v1";

/// The image of an order that names none.
const IMAGE: &str = "ubuntu-24.04";

/// The longest user-data that the API takes, in bytes.
const USER_DATA_MAX: usize = 32 * 1024;

/// The longest page that the API gives.
const PAGE: u32 = 50;

/// What is tried in order: the cheapest types are sold out most often.
const LADDER: [(&str, &str); 5] = [
    ("cx43", "nbg1"),
    ("cx43", "hel1"),
    ("cx43", "fsn1"),
    ("cpx42", "nbg1"),
    ("ccx23", "nbg1"),
];

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "the box powers itself off at its deadline, which does not stop the bill: `twolane reap` has to delete it";

/// Hetzner Cloud.
pub struct Hetzner {
    client: Client,
    profile: Profile,
}

/// What is needed to use Hetzner Cloud.
pub struct Access {
    /// The API token of a project.
    pub token: String,
    /// Where the API answers, when that is not [`ENDPOINT`].
    pub endpoint: Option<String>,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
    /// How long one request may take; none: a minute.
    pub time_max: Option<Duration>,
}

impl Hetzner {
    /// Makes a client of the API. Sends nothing.
    pub fn new(access: Access) -> Result<Self, ProviderError> {
        let profile = Profile {
            // A name is unique in the project: a second create of the same name is refused.
            is_create_repeatable: true,
            listing_lag: Duration::from_secs(3),
            user_data_max: USER_DATA_MAX,
            lists_parts_through_box: true,
            takes: Takes {
                keys: &[OptionKey::Tags],
                tags: TagRules {
                    count_max: 40,
                    lengths: (63, 63),
                    marks: "_.-",
                    is_lower: true,
                    reserved: &[],
                },
                ..Takes::default()
            },
            ..Profile::new("hetzner", &LADDER, DEAD_MANS_SWITCH)
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

    /// Makes the login key, or finds that an earlier try made it.
    async fn key(&self, order: &Order) -> Result<(), ProviderError> {
        let name = order.tags.label.as_str();
        let labels = order.pairs();
        let body = CreateSshKey {
            name,
            public_key: &order.login_key,
            labels,
        };
        let request = Request::new(Method::POST, "/ssh_keys", "make the login key").json(&body);
        let taken = match self.client.send(&request).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind == ErrorKind::Taken => error,
            Err(error) => return Err(error),
        };
        let found: Vec<SshKey> = self.named("ssh_keys", name, "look for the login key").await?;
        let is_same = |key: &SshKey| {
            convert::is_same(&key.labels, &order.tags)
                && body_of(&key.public_key) == body_of(&order.login_key)
        };
        if found.iter().any(is_same) {
            Ok(())
        } else {
            Err(self.taken(taken, order))
        }
    }

    /// Makes the firewall, or finds that an earlier try made it. Returns its id.
    async fn firewall(&self, order: &Order) -> Result<u64, ProviderError> {
        let name = order.tags.label.as_str();
        let ssh = Rule {
            direction: "in",
            protocol: "tcp",
            port: Some("22"),
            source_ips: &order.allow,
        };
        // Path MTU discovery and a ping from where SSH may come from.
        let icmp = Rule {
            direction: "in",
            protocol: "icmp",
            port: None,
            source_ips: &order.allow,
        };
        let body = CreateFirewall {
            name,
            labels: order.pairs(),
            rules: vec![ssh, icmp],
        };
        let request = Request::new(Method::POST, "/firewalls", "make the firewall").json(&body);
        let taken = match self.client.json::<OneFirewall>(&request).await {
            Ok(made) => return Ok(made.firewall.id),
            Err(error) if error.kind == ErrorKind::Taken => error,
            Err(error) => return Err(error),
        };
        let found: Vec<Firewall> = self.named("firewalls", name, "look for the firewall").await?;
        let same = found
            .iter()
            .find(|firewall| convert::is_same(&firewall.labels, &order.tags));
        same.map(|firewall| firewall.id)
            .ok_or_else(|| self.taken(taken, order))
    }

    fn taken(&self, error: ProviderError, order: &Order) -> ProviderError {
        let help = format!(
            "`twolane down {}` removes what an earlier run left; else choose another label",
            order.tags.label
        );
        error.with_help(help)
    }

    /// Returns those of that exact name, which are one at most.
    async fn named<T: DeserializeOwned>(
        &self,
        list: &str,
        name: &str,
        operation: &'static str,
    ) -> Result<Vec<T>, ProviderError> {
        let request = Request::get(format!("/{list}"), operation).query("name", name);
        let page: Page = self.client.json(&request).await?;
        self.rows(list, page, operation)
    }

    /// Returns a whole list: the first page, then all others at once.
    async fn all<T: DeserializeOwned>(&self, list: &str, selector: &str) -> Result<Vec<T>, ProviderError> {
        let first = self.page(list, selector, 1).await?;
        let pagination = &first.meta.pagination;
        let last = pagination.last_page.or(pagination.next_page).unwrap_or(1);
        let endless = || {
            let request = Request::get(format!("/{list}"), "list what is ours");
            let cause = format!("it says that its list has more than {PAGES_MAX} pages");
            self.client.garbled(&request, cause)
        };
        if last > PAGES_MAX {
            return Err(endless());
        }
        let mut pages = vec![first];
        pages.extend(try_join_all((2..=last).map(|number| self.page(list, selector, number))).await?);
        // Not every list says how many pages it has.
        while let Some(next) = pages.last().and_then(|page| page.meta.pagination.next_page) {
            if pages.len() >= PAGES_MAX as usize {
                return Err(endless());
            }
            pages.push(self.page(list, selector, next).await?);
        }
        let mut rows = Vec::new();
        for page in pages {
            rows.extend(self.rows(list, page, "list what is ours")?);
        }
        Ok(rows)
    }

    async fn page(&self, list: &str, selector: &str, number: u32) -> Result<Page, ProviderError> {
        let request = Request::get(format!("/{list}"), "list what is ours")
            .query("label_selector", selector)
            .query("page", number)
            .query("per_page", PAGE);
        self.client.json(&request).await
    }

    fn rows<T: DeserializeOwned>(
        &self,
        list: &str,
        mut page: Page,
        operation: &str,
    ) -> Result<Vec<T>, ProviderError> {
        let found = page.lists.remove(list).unwrap_or_default();
        let found = found.as_array().ok_or("it is no list".to_owned());
        found.and_then(|found| rows(found)).map_err(|why| {
            let cause = format!("the list of {list} is not what the API describes: {why}");
            self.error(ErrorKind::Unavailable, operation, cause)
                .with_help("try again later; if it stays, report it")
        })
    }

    /// Returns how the actions of a create call go.
    async fn actions(&self, ids: &str) -> Result<Vec<Action>, ProviderError> {
        const LOOK: &str = "look at how a create goes";
        let request = Request::get("/actions", LOOK);
        let request = ids
            .split(' ')
            .fold(request, |request, id| request.query("id", id));
        self.rows("actions", self.client.json(&request).await?, LOOK)
    }

    async fn things(&self, kind: ResourceKind, selector: &str) -> Result<Vec<Listed>, ProviderError> {
        let things: Vec<Thing> = self.all(list_of(kind), selector).await?;
        Ok(things
            .iter()
            .flat_map(|thing| convert::listed_thing(kind, thing))
            .collect())
    }
}

/// Returns the list that a kind of thing is kept in, which is also its path.
fn list_of(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Machine => "servers",
        ResourceKind::Disk => "volumes",
        ResourceKind::Address => "primary_ips",
        ResourceKind::Key => "ssh_keys",
        ResourceKind::Firewall => "firewalls",
        // Hetzner has none of these; the path does not exist, and says so.
        ResourceKind::Interface
        | ResourceKind::Group
        | ResourceKind::UserData
        | ResourceKind::Schedule
        | ResourceKind::Directory => "none",
    }
}

/// Returns a public key without its comment.
fn body_of(key: &str) -> Vec<&str> {
    key.split_whitespace().take(2).collect()
}

impl Hetzner {
    async fn create(&self, order: &Order, firewall: u64) -> Result<ObservedInstance, ProviderError> {
        let name = order.tags.label.as_str();
        let body = CreateServer {
            name,
            server_type: &order.candidate.instance_type,
            image: order.candidate.image.as_deref().unwrap_or(IMAGE),
            location: &order.candidate.region,
            ssh_keys: vec![name],
            user_data: &order.user_data,
            labels: order.pairs(),
            firewalls: vec![FirewallRef { firewall }],
            public_net: PublicNetRequest {
                enable_ipv4: true,
                enable_ipv6: false,
            },
            start_after_create: true,
        };
        let request = Request::new(Method::POST, "/servers", "create a box")
            .json(&body)
            .creates();
        let created: CreatedServer = self.client.json(&request).await?;
        let actions: Vec<_> = [created.action].into_iter().chain(created.next_actions).collect();
        Ok(convert::observed(&created.server, &actions))
    }
}

#[async_trait]
impl CloudApi for Hetzner {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        need.is_needed().then(|| {
            let cause =
                format!("no type of Hetzner Cloud has KVM, {instance_type} included, and the lane needs it");
            let help =
                "use `gcp`, `aws`, `ovh` or `local` for that lane; Hetzner serves lanes with kvm = \"none\"";
            self.error(ErrorKind::NoKvm, "create a box", cause)
                .with_help(help)
        })
    }

    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        let ((), firewall) = try_join(self.key(order), self.firewall(order)).await?;
        let launch = Launch::new(&order.candidate.region, firewall, |firewall| {
            self.create(order, firewall)
        });
        Ok(vec![launch])
    }

    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError> {
        let request = Request::get(format!("/servers/{}", observed.listed.id), "look at a box");
        let server = match self.client.json::<OneServer>(&request).await {
            Ok(answer) => answer.server,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let actions = match &observed.operation {
            Some(ids) if server.status != "running" => self.actions(ids).await?,
            _ => Vec::new(),
        };
        let operation = observed.operation.clone();
        Ok(Some(ObservedInstance {
            operation,
            ..convert::observed(&server, &actions)
        }))
    }

    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        let found: Vec<Server> = self
            .named("servers", order.tags.label.as_str(), "look for a box")
            .await?;
        let same = found
            .iter()
            .find(|server| server.name == order.tags.label.as_str());
        Ok(same.map(|server| convert::observed(server, &[])))
    }

    async fn list(&self, _region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        let selector = match selector {
            Selector::Label(label) => format!("{OURS}=true,mvm-label={label}"),
            Selector::OfRun(label, run) => format!("{OURS}=true,mvm-label={label},mvm-run={run}"),
            Selector::AllOurs => format!("{OURS}=true"),
        };
        let (servers, keys, firewalls, addresses, disks) = try_join5(
            self.all::<Server>("servers", &selector),
            self.things(ResourceKind::Key, &selector),
            self.things(ResourceKind::Firewall, &selector),
            self.things(ResourceKind::Address, &selector),
            self.things(ResourceKind::Disk, &selector),
        )
        .await?;
        let servers = servers.iter().flat_map(convert::listed_with_address);
        Ok(servers
            .chain(keys)
            .chain(firewalls)
            .chain(addresses)
            .chain(disks)
            .collect())
    }

    fn now(&self) -> Option<Timestamp> {
        self.client.now()
    }

    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError> {
        let path = format!("/{}/{}", list_of(listed.kind), listed.id);
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
impl Retag for Hetzner {
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        if listed.kind == ResourceKind::Address {
            // It was made by the create call, has no labels of its own and goes with its box.
            return Ok(());
        }
        let path = format!("/{}/{}", list_of(listed.kind), listed.id);
        const WHAT: &str = "move the deadline";
        // What is sent replaces all labels, those of the user too.
        let found: BTreeMap<String, Labels> = self.client.json(&Request::get(path.clone(), WHAT)).await?;
        let mut labels = found.into_values().next().unwrap_or_default();
        labels.labels.extend(tags.pairs());
        let request = Request::new(Method::PUT, path, WHAT).json(&labels);
        self.client.send(&request).await.map(|_| ())
    }
}

#[async_trait]
impl Prices for Hetzner {
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)> {
        Some((prices::hourly(instance_type, region)?, prices::DAY.to_owned()))
    }

    fn reports(&self) -> bool {
        true
    }

    async fn ask(&self, instance_type: &str, region: &str) -> Result<Option<Money>, ProviderError> {
        let found = self
            .named::<ServerType>("server_types", instance_type, "ask for the price")
            .await?;
        let mut prices = found.iter().flat_map(|found| &found.prices);
        let price = prices.find(|price| price.location == region);
        Ok(price.and_then(|price| Money::of(price.price_hourly.net.parse().ok()?, "EUR")))
    }
}
