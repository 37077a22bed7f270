//! OVHcloud's Public Cloud: ordinary instances, and bare metal (`bm-*`), by the hour. The single calls; see README.md
//! for what surprised us.

mod convert;
mod environment;
mod preflight;
mod sign;
mod wire;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::future::try_join;
use model::{
    cloud::{CloudApi, Launch, ObservedInstance, Retag},
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Listed, ResourceKind},
    money::Money,
    order::Order,
    profile::Profile,
    render::own_firewall::with_own_firewall,
    selector::Selector,
    tag_line,
    tags::{self, Tags},
    time::Timestamp,
    world::{Preflight, Prices},
};
use reqwest::Method;
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

pub(crate) use self::environment::ENTRY;
use self::{
    sign::{ServerClock, Signer},
    wire::{Catalogue, CreateInstance, CreateKey, Flavor, Image, Instance, Key, RenameInstance},
};
use crate::{
    http::{Answer, Client, Nobody, Request, RequestLog, Settings, rows},
    kvm,
};

/// Its name.
pub const NAME: &str = "ovh";

/// Where the API answers, by the name that OVH_ENDPOINT has for it.
const ENDPOINTS: [(&str, &str); 3] = [
    ("ovh-eu", "https://eu.api.ovh.com/1.0"),
    ("ovh-ca", "https://ca.api.ovh.com/1.0"),
    ("ovh-us", "https://api.us.ovhcloud.com/1.0"),
];

/// The image of an order that names none. Bare metal has images of its own, whose names begin with [`METAL_IMAGE`].
const IMAGE: &str = "Ubuntu 24.04";

/// How the name of an image for bare metal begins.
const METAL_IMAGE: &str = "Baremetal - ";

/// The longest user-data that the API takes, in bytes: OpenStack's 65535 after base64.
const USER_DATA_MAX: usize = 49_151;

/// What is tried in order when a lane names neither type nor region.
const LADDER: [(&str, &str); 5] = [
    ("b3-16", "GRA11"),
    ("b3-16", "SBG5"),
    ("b3-16", "DE1"),
    ("b3-16", "WAW1"),
    ("b3-16", "BHS5"),
];

/// What ends a box if this machine is lost.
const DEAD_MANS_SWITCH: &str = "the box powers itself off at its deadline, which does not stop the bill: `twolane reap` has to delete it";

/// OVHcloud's Public Cloud.
pub struct Ovh {
    /// Signs what it sends.
    client: Client,
    /// Asks for the time, unsigned.
    unsigned: Client,
    clock: Arc<ServerClock>,
    profile: Profile,
    project: String,
    /// Whether prices are those of the table, which are in euros.
    is_europe: bool,
    /// Some megabytes, asked for once.
    catalogue: OnceCell<Catalogue>,
}

/// What is needed to use OVHcloud.
pub struct Access {
    /// `ovh-eu`, `ovh-ca`, `ovh-us`, or where the API answers.
    pub endpoint: String,
    /// Who the program is.
    pub application_key: String,
    /// What the program knows.
    pub application_secret: String,
    /// Who the program works for.
    pub consumer_key: String,
    /// The id of the Public Cloud project: 32 hexadecimal digits.
    pub project: String,
    /// Logs each request.
    pub log: Option<Arc<dyn RequestLog>>,
    /// How long one request may take; none: a minute.
    pub time_max: Option<Duration>,
}

impl Ovh {
    /// Makes a client of the API. Sends nothing.
    pub fn new(access: Access) -> Result<Self, ProviderError> {
        let profile = Profile {
            // Names need not be unique, and there is no token: the same call makes a second box.
            is_create_repeatable: false,
            listing_lag: Duration::from_secs(10),
            // Bare metal takes its time; how much nobody has recorded.
            up_max: |instance_type| {
                Duration::from_secs(if is_metal(instance_type) { 30 * 60 } else { 10 * 60 })
            },
            ..Profile::new(NAME, &LADDER, DEAD_MANS_SWITCH)
        };
        let known = ENDPOINTS.iter().find(|(name, _)| *name == access.endpoint);
        let endpoint = known.map_or(access.endpoint.clone(), |(_, url)| (*url).to_owned());
        let clock = Arc::<ServerClock>::default();
        let signer = Signer {
            application_key: access.application_key.trim().to_owned(),
            application_secret: access.application_secret.trim().to_owned(),
            consumer_key: access.consumer_key.trim().to_owned(),
            clock: clock.clone(),
        };
        let client = Client::new(Settings {
            provider: profile.name.clone(),
            endpoint: endpoint.clone(),
            authorize: Arc::new(signer),
            dialect: &convert::Words,
            log: access.log,
            time_max: access.time_max,
        })
        .map_err(|error| error.with_help("set OVH_ENDPOINT to ovh-eu, ovh-ca or ovh-us"))?;
        Ok(Self {
            unsigned: client.at(&endpoint, Arc::new(Nobody))?,
            client,
            clock,
            profile,
            project: access.project.trim().to_owned(),
            is_europe: access.endpoint != "ovh-ca" && access.endpoint != "ovh-us",
            catalogue: OnceCell::new(),
        })
    }

    /// Returns the path of something in the project.
    fn path(&self, rest: &str) -> String {
        format!("/cloud/project/{}/{rest}", self.project)
    }

    /// Sends a request, signed for the time at the API.
    async fn send(&self, request: &Request) -> Result<Answer, ProviderError> {
        self.set_clock().await?;
        self.client.send(request).await
    }

    /// The same, and reads the answer.
    async fn json<T: DeserializeOwned>(&self, request: &Request) -> Result<T, ProviderError> {
        self.set_clock().await?;
        self.client.json(request).await
    }

    /// Reads a list, which the API does not part into pages.
    async fn all<T: DeserializeOwned>(&self, request: &Request) -> Result<Vec<T>, ProviderError> {
        let found: Vec<serde_json::Value> = self.json(request).await?;
        rows(&found).map_err(|why| {
            let cause = format!("a row of {} is not what the API describes: {why}", request.path);
            self.client.garbled(request, cause)
        })
    }

    /// Asks for the time at the API, where that is not known. Nothing that is made depends on the answer.
    async fn set_clock(&self) -> Result<(), ProviderError> {
        if self.clock.is_stale() {
            let now = self
                .unsigned
                .json(&Request::get("/auth/time", "ask for the time"))
                .await?;
            self.clock.set(now);
        }
        Ok(())
    }

    fn check(&self, order: &Order) -> Result<(), ProviderError> {
        let length = user_data(order).len();
        if length <= USER_DATA_MAX {
            return Ok(());
        }
        let cause = format!("the user-data is {length} bytes, and OVHcloud takes {USER_DATA_MAX}");
        let help = "shorten [system] in twolane.toml: packages, certificates, tools";
        Err(self
            .error(ErrorKind::Invalid, "create a box", cause)
            .with_help(help))
    }

    async fn flavors(&self, region: Option<&str>) -> Result<Vec<Flavor>, ProviderError> {
        let request = Request::get(self.path("flavor"), "look up the type");
        let request = match region {
            Some(region) => request.query("region", region),
            None => request,
        };
        self.all(&request).await
    }

    /// Returns the type as its region sells it now.
    async fn flavor(&self, instance_type: &str, region: &str) -> Result<Flavor, ProviderError> {
        let found = match self.flavors(Some(region)).await {
            Ok(flavors) => flavors.into_iter().find(|flavor| flavor.name == instance_type),
            Err(error) if error.kind == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let Some(flavor) = found else {
            return Err(self.not_sold(instance_type, region).await?);
        };
        let refuse = |kind, cause| Err(self.error(kind, "create a box", cause).with_help(OTHER));
        if flavor.quota <= 0 {
            let cause = format!("the project's quota in {region} does not allow another {instance_type}");
            return refuse(ErrorKind::QuotaReached, cause);
        }
        if !flavor.available {
            let cause = format!("{instance_type} is out of stock in {region} now");
            return refuse(ErrorKind::NoCapacity, cause);
        }
        Ok(flavor)
    }

    /// Says where a type is sold that a region does not have.
    async fn not_sold(&self, instance_type: &str, region: &str) -> Result<ProviderError, ProviderError> {
        let all = self.flavors(None).await?;
        let regions: BTreeSet<&str> = all.iter().map(|flavor| flavor.region.as_str()).collect();
        let selling = all.iter().filter(|flavor| flavor.name == instance_type);
        let selling: BTreeSet<&str> = selling.map(|flavor| flavor.region.as_str()).collect();
        let list = |names: BTreeSet<&str>| Vec::from_iter(names).join(", ");
        let operation = "create a box";
        Ok(if !regions.contains(region) {
            let cause = format!("the project has no region {region}, or it is not switched on");
            let help = format!("it has {}", list(regions));
            self.error(ErrorKind::Invalid, operation, cause).with_help(help)
        } else if selling.is_empty() {
            let cause = format!("OVHcloud sells no type {instance_type} to this project");
            self.error(ErrorKind::Invalid, operation, cause)
                .with_help("the default is b3-16")
        } else {
            let cause = format!("{region} does not sell {instance_type}");
            let help = format!("these do: {}", list(selling));
            self.error(ErrorKind::NoCapacity, operation, cause)
                .with_help(help)
        })
    }

    /// Returns the id of the image for a type.
    async fn image(&self, order: &Order, flavor: &Flavor) -> Result<String, ProviderError> {
        let request = Request::get(self.path("image"), "look up the image")
            .query("region", &flavor.region)
            .query("osType", &flavor.os_type)
            .query("flavorType", &flavor.kind);
        let images: Vec<Image> = self.all(&request).await?;
        let asked = order.candidate.image.as_deref().unwrap_or(IMAGE);
        let metal = format!("{METAL_IMAGE}{asked}");
        let is_wanted =
            |image: &&Image| image.name == asked || (is_metal(&flavor.name) && image.name == metal);
        let found = images
            .iter()
            .filter(|image| image.status == "active")
            .find(is_wanted);
        found.map(|image| image.id.clone()).ok_or_else(|| {
            let cause = format!("{} has no image `{asked}` for {}", flavor.region, flavor.name);
            let mut names: Vec<_> = images.iter().map(|image| image.name.as_str()).collect();
            names.sort_unstable();
            let help = format!("it has: {}", names.join(", "));
            self.error(ErrorKind::Invalid, "create a box", cause)
                .with_help(help)
        })
    }

    async fn keys(&self) -> Result<Vec<Key>, ProviderError> {
        let request = Request::get(self.path("sshkey"), "look for the login key");
        self.all(&request).await
    }

    /// Makes the login key, or finds that an earlier try made it. Returns its id.
    async fn key(&self, order: &Order, region: &str) -> Result<String, ProviderError> {
        let keys = self.keys().await?;
        let is_same = |key: &&Key| {
            let tags = tag_line::read(&key.name).and_then(|pairs| Tags::parse(&pairs));
            let is_same_run =
                tags.is_some_and(|tags| tags.label == order.tags.label && tags.run == order.tags.run);
            let is_here = key.regions.iter().any(|name| name == region);
            is_same_run && is_here && body_of(&key.public_key) == body_of(&order.login_key)
        };
        if let Some(key) = keys.iter().find(is_same) {
            return Ok(key.id.clone());
        }
        let body = CreateKey {
            name: &tag_line::write(&order.tags),
            public_key: &order.login_key,
            region,
        };
        let path = self.path("sshkey");
        let request = Request::new(Method::POST, path, "make the login key").json(&body);
        Ok(self.json::<Key>(&request).await?.id)
    }

    /// Undoes at once what would be billed by the month.
    async fn undo_monthly(&self, listed: &Listed) -> ProviderError {
        let undone = match self.delete(listed).await {
            Ok(()) => "it was deleted at once".to_owned(),
            Err(error) => format!("it could not be deleted at once: {}", error.cause),
        };
        let cause = format!(
            "box {} was answered as billed by the month, which was not asked for; {undone}",
            listed.id
        );
        let help =
            "look at the project's bill in the OVHcloud manager, and at its support if a month is on it";
        self.error(ErrorKind::Invalid, "create a box", cause)
            .with_help(help)
    }
}

/// What helps when there is none to be had.
const OTHER: &str = "add another region or type to `boxes`";

/// Returns whether a type is a machine of its own.
fn is_metal(instance_type: &str) -> bool {
    instance_type.starts_with("bm-")
}

/// Returns the box's user-data. The box sets up its own firewall, as OVHcloud has none for it.
fn user_data(order: &Order) -> String {
    with_own_firewall(&order.user_data, &order.allow)
}

/// Returns a public key without its comment.
fn body_of(key: &str) -> Vec<&str> {
    key.split_whitespace().take(2).collect()
}

/// The ids that a create call names.
#[derive(Clone)]
struct Prepared {
    flavor: String,
    image: String,
    key: String,
}

impl Ovh {
    async fn create(&self, order: &Order, prepared: Prepared) -> Result<ObservedInstance, ProviderError> {
        let body = CreateInstance {
            name: &tag_line::write(&order.tags),
            region: &order.candidate.region,
            flavor_id: &prepared.flavor,
            image_id: &prepared.image,
            ssh_key_id: &prepared.key,
            user_data: &user_data(order),
            monthly_billing: false,
        };
        let request = Request::new(Method::POST, self.path("instance"), "create a box")
            .json(&body)
            .creates();
        let instance: Instance = self.json(&request).await?;
        let seen = convert::observed(&instance, Some(&order.candidate.instance_type));
        if convert::is_monthly(&instance) {
            return Err(self.undo_monthly(&seen.listed).await);
        }
        Ok(seen)
    }
}

#[async_trait]
impl CloudApi for Ovh {
    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn refuse(&self, instance_type: &str, need: KvmNeed) -> Option<ProviderError> {
        let cause = match need {
            KvmNeed::Metal if !is_metal(instance_type) => {
                format!("{instance_type} is no bare metal, and the lane asks for it")
            }
            KvmNeed::Nested if is_metal(instance_type) => {
                format!("{instance_type} is bare metal, and the lane asks for nested KVM")
            }
            KvmNeed::None | KvmNeed::Required | KvmNeed::Nested | KvmNeed::Metal => return None,
        };
        let help = "use bm-s1 for bare metal, b3-16 for nested KVM";
        Some(
            self.error(ErrorKind::NoKvm, "create a box", cause)
                .with_help(help),
        )
    }

    async fn prepare<'a>(&'a self, order: &'a Order) -> Result<Vec<Launch<'a>>, ProviderError> {
        self.check(order)?;
        let region = order.candidate.region.as_str();
        let flavor = self.flavor(&order.candidate.instance_type, region).await?;
        let (image, key) = try_join(self.image(order, &flavor), self.key(order, region)).await?;
        let prepared = Prepared {
            flavor: flavor.id,
            image,
            key,
        };
        let launch = Launch::new(region, prepared, |prepared| self.create(order, prepared));
        Ok(vec![launch])
    }

    async fn look(&self, observed: &ObservedInstance) -> Result<Option<ObservedInstance>, ProviderError> {
        let path = self.path(&format!("instance/{}", observed.listed.id));
        let instance = match self.json::<Instance>(&Request::get(path, "look at a box")).await {
            Ok(instance) => instance,
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let known = observed.listed.instance_type.as_deref();
        Ok(Some(convert::observed(&instance, known)))
    }

    async fn find(&self, order: &Order) -> Result<Option<ObservedInstance>, ProviderError> {
        let request = Request::get(self.path("instance"), "look for a box");
        let instances: Vec<Instance> = self.all(&request).await?;
        let selector = Selector::Label(order.tags.label.clone());
        let is_meant = |instance: &&Instance| {
            instance.status != "DELETED"
                && tag_line::read(&instance.name).is_some_and(|pairs| tags::is_meant(&pairs, &selector))
        };
        let found = instances
            .iter()
            .filter(is_meant)
            .map(|it| convert::observed(it, None));
        // Names need not be unique: the box of this run counts before another's.
        Ok(found.min_by_key(|seen| seen.listed.tags.as_ref().map(|tags| &tags.run) != Some(&order.tags.run)))
    }

    async fn list(&self, _region: &str, selector: &Selector) -> Result<Vec<Listed>, ProviderError> {
        let request = Request::get(self.path("instance"), "list what is ours");
        let (instances, keys) = try_join(self.all::<Instance>(&request), self.keys()).await?;
        let meant = |name: &str| tag_line::read(name).filter(|pairs| tags::is_meant(pairs, selector));
        let instances = instances
            .iter()
            .filter(|instance| instance.status != "DELETED")
            .filter_map(|instance| Some(convert::listed_instance(instance, &meant(&instance.name)?)));
        let keys = keys
            .iter()
            .filter_map(|key| Some(convert::listed_key(key, &meant(&key.name)?)));
        Ok(instances.chain(keys).collect())
    }

    fn now(&self) -> Option<Timestamp> {
        self.client.now()
    }

    async fn delete(&self, listed: &Listed) -> Result<(), ProviderError> {
        let kind = match listed.kind {
            ResourceKind::Key => "sshkey",
            // Nothing else is ever listed; what is no instance is answered as not found.
            _ => "instance",
        };
        let path = self.path(&format!("{kind}/{}", listed.id));
        self.send(&Request::new(Method::DELETE, path, "destroy")).await?;
        Ok(())
    }

    fn retag(&self) -> Option<&dyn Retag> {
        Some(self)
    }

    fn preflight(&self) -> Option<&dyn Preflight> {
        Some(self)
    }

    fn prices(&self) -> Option<&dyn Prices> {
        self.is_europe.then_some(self)
    }
}

#[async_trait]
impl Retag for Ovh {
    async fn retag(&self, listed: &Listed, tags: &Tags) -> Result<(), ProviderError> {
        if listed.kind != ResourceKind::Machine {
            // A key has no other name than its first, and goes with its box.
            return Ok(());
        }
        let path = self.path(&format!("instance/{}", listed.id));
        let body = RenameInstance {
            instance_name: &tag_line::write(tags),
        };
        let request = Request::new(Method::PUT, path, "move the deadline").json(&body);
        self.send(&request).await.map(|_| ())
    }
}

#[async_trait]
impl Prices for Ovh {
    fn hourly(&self, instance_type: &str, region: &str) -> Option<(Money, String)> {
        kvm::hourly(NAME, instance_type, region)
    }

    fn reports(&self) -> bool {
        true
    }

    /// The public catalogue has one price for all regions.
    async fn ask(&self, instance_type: &str, _region: &str) -> Result<Option<Money>, ProviderError> {
        let request = Request::get("/order/catalog/public/cloud", "ask for the price");
        // The one for France is in euros.
        let request = request.query("ovhSubsidiary", "FR");
        let ask = || self.unsigned.json::<Catalogue>(&request);
        Ok(self.catalogue.get_or_try_init(ask).await?.hourly(instance_type))
    }
}
