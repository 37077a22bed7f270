//! Latitude.sh: bare metal by the hour. The single calls; see README.md for what surprised us.

mod convert;
mod environment;
mod preflight;
mod stock;
mod wire;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::{try_join, try_join3};
use model::{
    cloud::{CloudApi, InstanceState, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, ResourceKind},
    money::Money,
    order::Order,
    profile::Profile,
    render::own_firewall::with_own_firewall,
    selector::Selector,
    tag_line,
    tags::Tags,
    time::Timestamp,
    world::{Preflight, Prices},
};
use reqwest::Method;
use serde::{Serialize, de::DeserializeOwned};
use tokio::sync::OnceCell;

pub(crate) use self::environment::ENTRY;
use self::{
    stock::{ANY, CHEAPEST, Choice, Wanted},
    wire::{
        CreateKey, CreateServer, CreateUserData, Data, Describe, Envelope, Key, Many, One, Plan, Project,
        Resource, Server, System, UserData,
    },
};
use crate::{
    http::{Bearer, Client, PAGES_MAX, Request, RequestLog, Settings, rows},
    kvm,
};

/// Its name.
pub const NAME: &str = "latitude";

/// Where the API answers.
pub const ENDPOINT: &str = "https://api.latitude.sh";

/// The operating system of an order that names none.
const IMAGE: &str = "ubuntu_24_04_x64_lts";

/// How long a page is asked for. The API may give shorter ones.
const PAGE: usize = 100;

/// The day on which the most that is paid for the cheapest plan was set.
const CAP_DAY: &str = "2026-11-23";

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "the box powers itself off at its deadline, which does not stop the bill: `twolane reap` has to delete it";

/// Latitude.sh.
pub struct Latitude {
    client: Client,
    profile: Profile,
    asked_project: Option<String>,
    project: OnceCell<Resource<Project>>,
}

/// What is needed to use Latitude.sh.
pub struct Access {
    /// The API key of a team.
    pub token: String,
    /// The project's id or slug; none: the only one that there is.
    pub project: Option<String>,
    /// Where the API answers, when that is not [`ENDPOINT`].
    pub endpoint: Option<String>,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
    /// How long one request may take; none: a minute.
    pub time_max: Option<Duration>,
}

impl Latitude {
    /// Makes a client of the API. Sends nothing.
    pub fn new(access: Access) -> Result<Self, ProviderError> {
        let profile = Profile {
            // Host names need not be unique, and there is no token: the same call makes a second box.
            is_create_repeatable: false,
            listing_lag: Duration::from_secs(15),
            // A machine that was not installed beforehand takes 15 to 25 minutes.
            up_max: |_| Duration::from_secs(30 * 60),
            // A minute allows 60 requests that read, and a look at all that is ours takes three.
            look_max: Duration::from_secs(10),
            // Bare metal is wiped before it is gone, which took the vendor's own teardown 20 minutes.
            gone_max: Duration::from_secs(30 * 60),
            ..Profile::new(NAME, &[(CHEAPEST, ANY)], DEAD_MANS_SWITCH)
        };
        let client = Client::new(Settings {
            provider: profile.name.clone(),
            endpoint: access.endpoint.unwrap_or_else(|| ENDPOINT.to_owned()),
            authorize: Arc::new(Bearer::new(&access.token)),
            dialect: &convert::Words,
            log: access.log,
            time_max: access.time_max,
        })?;
        Ok(Self {
            client,
            profile,
            asked_project: access.project,
            project: OnceCell::new(),
        })
    }

    /// Returns a whole list. A short page may be the API's own choice, so that the total counts, or an empty page.
    async fn all<T: DeserializeOwned>(
        &self,
        list: &str,
        operation: &'static str,
    ) -> Result<Vec<Resource<T>>, ProviderError> {
        let (mut all, mut seen) = (Vec::new(), BTreeSet::new());
        for number in 1..=PAGES_MAX {
            let request = Request::get(list, operation)
                .query("page[size]", PAGE)
                .query("page[number]", number)
                .query("stats[total]", "count");
            let mut page: Many = self.client.json(&request).await?;
            let total = page.meta.stats.total.count;
            // A page past the end of a list may repeat rows.
            page.data.retain(|row| seen.insert(row["id"].to_string()));
            let is_last = page.data.is_empty() || total.is_some_and(|total| seen.len() >= total);
            all.extend(self.read::<T>(&request, &page)?);
            if is_last {
                return Ok(all);
            }
        }
        let cause = format!("its list {list} has more than {PAGES_MAX} pages");
        Err(self
            .error(ErrorKind::Unavailable, operation, cause)
            .with_help("report it"))
    }

    fn read<T: DeserializeOwned>(
        &self,
        request: &Request,
        page: &Many,
    ) -> Result<Vec<Resource<T>>, ProviderError> {
        rows(&page.data).map_err(|why| {
            let cause = format!("a row of {} is not what the API describes: {why}", request.path);
            self.client.garbled(request, cause)
        })
    }

    /// Returns the project: the one that was named, or the only one.
    async fn project(&self) -> Result<&Resource<Project>, ProviderError> {
        self.project.get_or_try_init(|| self.find_project()).await
    }

    async fn find_project(&self) -> Result<Resource<Project>, ProviderError> {
        let mut projects: Vec<Resource<Project>> = self.all("/projects", "look up the project").await?;
        let slugs: Vec<_> = projects.iter().map(|it| it.attributes.slug.clone()).collect();
        let help = match slugs.is_empty() {
            true => "make a project in the Latitude.sh dashboard".to_owned(),
            false => format!("set LATITUDESH_PROJECT to one of: {}", slugs.join(", ")),
        };
        let refuse =
            |cause: String, help: &str| self.error(ErrorKind::Invalid, "be used", cause).with_help(help);
        let found = match &self.asked_project {
            Some(asked) => projects
                .iter()
                .position(|it| it.id == *asked || it.attributes.slug == *asked)
                .ok_or_else(|| refuse(format!("there is no project {asked}"), &help))?,
            None if projects.len() == 1 => 0,
            None => {
                let cause = format!(
                    "LATITUDESH_PROJECT is not set, and there are {} projects",
                    projects.len()
                );
                return Err(refuse(cause, &help));
            }
        };
        let project = projects.swap_remove(found);
        let how = project.attributes.provisioning_type.as_deref();
        if how.is_some_and(|how| how != "on_demand") {
            let cause = format!(
                "the project {} is of the kind `{}`, whose servers are billed by the year",
                project.attributes.slug,
                how.unwrap_or_default()
            );
            return Err(refuse(
                cause,
                "set LATITUDESH_PROJECT to a project of the kind `on_demand`",
            ));
        }
        Ok(project)
    }

    /// Returns the plan of that name, or those without a GPU.
    async fn plans(&self, wanted: &str, operation: &'static str) -> Result<Vec<Plan>, ProviderError> {
        let request = Request::get("/plans", operation);
        let request = match wanted {
            CHEAPEST => request.query("filter[gpu]", false),
            named => request.query("filter[slug]", named),
        };
        let listed = self.client.json::<Many>(&request).await?;
        let plans: Vec<Resource<Plan>> = self.read(&request, &listed)?;
        Ok(plans.into_iter().map(|it| it.attributes).collect())
    }

    /// Returns what of the order is in stock now, cheapest first.
    async fn choices(&self, wanted: Wanted<'_>) -> Result<Vec<Choice>, ProviderError> {
        const LOOK: &str = "look at the stock";
        let systems = self.all::<System>("/plans/operating_systems", LOOK);
        let (plans, systems) = try_join(self.plans(wanted.plan, LOOK), systems).await?;
        let systems: Vec<System> = systems.into_iter().map(|it| it.attributes).collect();
        let found = stock::choices(&plans, &systems, wanted);
        if found.is_empty() {
            let (cause, help) = stock::why_none(&plans, wanted);
            return Err(self
                .error(ErrorKind::NoCapacity, "create a box", cause)
                .with_help(help));
        }
        Ok(found)
    }

    fn check(&self, order: &Order) -> Result<(), ProviderError> {
        if !order.user_data.contains("{{") {
            return Ok(());
        }
        let cause = "the user-data holds `{{`, which Latitude.sh takes for a template of its own";
        let help = "keep such braces out of [system] in twolane.toml";
        Err(self
            .error(ErrorKind::Invalid, "create a box", cause)
            .with_help(help))
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        kind: &'static str,
        operation: &'static str,
        attributes: impl Serialize,
    ) -> Result<Resource<T>, ProviderError> {
        let body = Envelope {
            data: Data {
                id: None,
                kind,
                attributes,
            },
        };
        let request = Request::new(Method::POST, path, operation).json(&body);
        Ok(self.client.json::<One<T>>(&request).await?.data)
    }

    /// Makes the user-data, or finds that an earlier try made it. Returns its id. Its description holds the tags of all.
    async fn user_data(&self, order: &Order, project: &str) -> Result<String, ProviderError> {
        let content = STANDARD.encode(with_own_firewall(&order.user_data, &order.allow));
        let known: Vec<Resource<UserData>> = self.all("/user_data", "look for the user-data").await?;
        let is_same = |it: &&Resource<UserData>| convert::is_same_data(&it.attributes, &order.tags, &content);
        if let Some(known) = known.iter().find(is_same) {
            return Ok(known.id.clone());
        }
        let attributes = CreateUserData {
            description: &tag_line::write(&order.tags),
            project,
            content: &content,
        };
        let made = self.post::<UserData>("/user_data", "user_data", "make the user-data", attributes);
        Ok(made.await?.id)
    }

    /// Makes the login key, or finds that an earlier try made it. Returns its id.
    async fn key(&self, order: &Order, project: &str) -> Result<String, ProviderError> {
        let known: Vec<Resource<Key>> = self.all("/ssh_keys", "look for the login key").await?;
        let is_same =
            |it: &&Resource<Key>| convert::is_same_key(&it.attributes, &order.tags, &order.login_key);
        if let Some(known) = known.iter().find(is_same) {
            return Ok(known.id.clone());
        }
        let attributes = CreateKey {
            name: &tag_line::write(&order.tags),
            project,
            public_key: &order.login_key,
        };
        let made = self.post::<Key>("/ssh_keys", "ssh_keys", "make the login key", attributes);
        Ok(made.await?.id)
    }

    /// Undoes at once what would not be billed by the hour.
    async fn undo(&self, listed: &Listed, billing: &str) -> ProviderError {
        let undone = match self.delete(listed).await {
            Ok(()) => "it was deleted at once".to_owned(),
            Err(error) => format!("it could not be deleted at once: {}", error.cause),
        };
        let cause = format!(
            "box {} was answered as billed {billing} although `hourly` was asked for; {undone}",
            listed.id
        );
        let help =
            "use a project of the kind `on_demand`, and look at the team's bill in the Latitude.sh dashboard";
        self.error(ErrorKind::Invalid, "create a box", cause)
            .with_help(help)
    }
}

/// Returns what is looked for.
fn wanted<'a>(order: &'a Order) -> Wanted<'a> {
    Wanted {
        plan: &order.candidate.instance_type,
        site: &order.candidate.region,
        image: order.candidate.image.as_deref().unwrap_or(IMAGE),
    }
}

/// What a create call names.
#[derive(Clone)]
struct Prepared<'a> {
    choice: Choice,
    project: &'a str,
    user_data: String,
    key: String,
}

impl Latitude {
    async fn create(&self, order: &Order, prepared: Prepared<'_>) -> Result<ObservedInstance, ProviderError> {
        let attributes = CreateServer {
            project: prepared.project,
            plan: &prepared.choice.plan,
            site: &prepared.choice.site,
            operating_system: wanted(order).image,
            hostname: &convert::hostname(&order.tags),
            ssh_keys: vec![&prepared.key],
            user_data: &prepared.user_data,
            billing: "hourly",
        };
        let body = Envelope {
            data: Data {
                id: None,
                kind: "servers",
                attributes,
            },
        };
        let request = Request::new(Method::POST, "/servers", "create a box")
            .json(&body)
            .creates();
        let server = self.client.json::<One<Server>>(&request).await?.data;
        let seen = convert::observed(&server, Some(order.tags.clone()), None, self.client.now());
        if let Some(billing) = convert::is_not_hourly(&server.attributes) {
            return Err(self.undo(&seen.listed, billing).await);
        }
        // Whatever the answer says: only what is asked for afterwards is believed.
        Ok(ObservedInstance {
            state: InstanceState::Pending,
            ..seen
        })
    }
}

#[async_trait]
impl CloudApi for Latitude {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        (need == KvmNeed::Nested).then(|| {
            let cause = format!("{instance_type} is bare metal, and the lane asks for nested KVM");
            let help = "use `gcp`, `aws`, `ovh`, `vultr` or `local` for nested KVM";
            self.error(ErrorKind::NoKvm, "create a box", cause)
                .with_help(help)
        })
    }

    /// The stock is asked before anything is made for a box that is not to be had.
    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        self.check(order)?;
        let project = self.project().await?.id.as_str();
        let choices = self.choices(wanted(order)).await?;
        let (user_data, key) = try_join(self.user_data(order, project), self.key(order, project)).await?;
        let launch = |choice: Choice| {
            let place = format!("{} at {}", choice.plan, choice.site);
            let prepared = Prepared {
                choice,
                project,
                user_data: user_data.clone(),
                key: key.clone(),
            };
            Launch::new(place, prepared, |prepared| self.create(order, prepared))
        };
        Ok(choices.into_iter().map(launch).collect())
    }

    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError> {
        let request = Request::get(format!("/servers/{}", observed.listed.id), "look at a box");
        let server = match self.client.json::<One<Server>>(&request).await {
            Ok(answer) => answer.data,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let before = Some(observed.listed.state.as_str());
        let tags = observed.listed.tags.clone();
        Ok(Some(convert::observed(&server, tags, before, self.client.now())))
    }

    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        const LOOK: &str = "look for a box";
        let (servers, user_data) = try_join(
            self.all::<Server>("/servers", LOOK),
            self.all::<UserData>("/user_data", LOOK),
        )
        .await?;
        let selector = Selector::Label(order.tags.label.clone());
        let own = convert::hostname(&order.tags);
        let seen = |server: &Resource<Server>| {
            let hostname = &server.attributes.hostname;
            // The name says whose it is, even while its user-data is not listed yet.
            let by_name = || (*hostname == own).then(|| order.tags.clone());
            let tags = convert::tags_of(hostname, &user_data).or_else(by_name);
            convert::observed(server, tags, None, self.client.now())
        };
        let found = servers
            .iter()
            .filter(|server| convert::is_meant(&server.attributes.hostname, &selector));
        // Names need not be unique: the box of this run counts before another's.
        Ok(found
            .min_by_key(|server| server.attributes.hostname != own)
            .map(seen))
    }

    async fn list(&self, _region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        const LIST: &str = "list what is ours";
        let (servers, user_data, keys) = try_join3(
            self.all::<Server>("/servers", LIST),
            self.all::<UserData>("/user_data", LIST),
            self.all::<Key>("/ssh_keys", LIST),
        )
        .await?;
        let servers = servers
            .iter()
            .filter(|server| convert::is_meant(&server.attributes.hostname, selector))
            .map(|server| {
                let tags = convert::tags_of(&server.attributes.hostname, &user_data);
                convert::listed_server(server, tags)
            });
        let data = user_data.iter().filter_map(|it| {
            convert::listed_thing(
                ResourceKind::UserData,
                &it.id,
                &it.attributes.description,
                selector,
            )
        });
        let keys = keys
            .iter()
            .filter_map(|it| convert::listed_thing(ResourceKind::Key, &it.id, &it.attributes.name, selector));
        Ok(servers.chain(data).chain(keys).collect())
    }

    fn now(&self) -> Option<Timestamp> {
        self.client.now()
    }

    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError> {
        if listed.state == convert::LOCKED {
            let cause = format!(
                "server {} is locked, and Latitude.sh ignores its deletion",
                listed.id
            );
            return Err(self
                .error(ErrorKind::Invalid, "destroy", cause)
                .with_help(convert::UNLOCK));
        }
        let list = match listed.kind {
            ResourceKind::UserData => "user_data",
            ResourceKind::Key => "ssh_keys",
            // Nothing else is ever listed; what is no server is answered as not found.
            _ => "servers",
        };
        let path = format!("/{list}/{}", listed.id);
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
impl Retag for Latitude {
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        if listed.kind != ResourceKind::UserData {
            // The tags of a box are those of its user-data; a key goes with its box.
            return Ok(());
        }
        let body = Envelope {
            data: Data {
                id: Some(&listed.id),
                kind: "user_data",
                attributes: Describe {
                    description: &tag_line::write(tags),
                },
            },
        };
        let path = format!("/user_data/{}", listed.id);
        let request = Request::new(Method::PATCH, path, "move the deadline").json(&body);
        self.client.send(&request).await.map(|_| ())
    }
}

#[async_trait]
impl Prices for Latitude {
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)> {
        if instance_type == CHEAPEST {
            // Which plan it will be is not known: no dearer one is taken.
            return Some((stock::cap(), CAP_DAY.to_owned()));
        }
        kvm::hourly(NAME, instance_type, region)
    }

    fn reports(&self) -> bool {
        true
    }

    /// Of several sites the dearest counts. Which plan the cheapest is shows only when a box is made.
    async fn ask(&self, instance_type: &str, region: &str) -> Result<Option<Money>, ProviderError> {
        if instance_type == CHEAPEST {
            return Ok(None);
        }
        let plans = self.plans(instance_type, "ask for the price").await?;
        let sold = plans.iter().flat_map(|plan| &plan.regions).filter(|sold| {
            let mut sites = sold.locations.available.iter();
            region == stock::ANY || sites.any(|site| site.eq_ignore_ascii_case(region))
        });
        let hours = sold.filter_map(|sold| Money::of(sold.pricing.usd.as_ref()?.hour?, "USD"));
        Ok(hours.max_by_key(|price| price.micros))
    }
}
