//! `reap` on a machine that knows nothing, over 1,000 overdue boxes on seven fake clouds with the rate limits that their
//! vendors record: how long it takes and how many calls it makes. `cargo bench -p providers --bench reap`. Time goes
//! ten times as fast, so that what this machine takes for clouds and client together counts tenfold.

#![expect(clippy::print_stdout, reason = "what is measured is printed")]
#![expect(dead_code, reason = "the fakes can do more than is measured")]

#[path = "../tests/fakes/mod.rs"]
mod fakes;
#[path = "../tests/clouds/orders.rs"]
mod orders;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use camino::Utf8Path;
use engine::{cloud::Cloud, down::DestroyOutcome, reap};
use model::{
    build::{BuildOrder, Built},
    cloud::CloudApi,
    error::{JournalError, RemoteError},
    event::EventRecord,
    journal::{Entry, Fact},
    lane::KvmNeed,
    name::{Label, ProviderName, RunId},
    order::Order,
    time::{Timestamp, after, between},
    world::{
        Builder, Clock, Events, Files, Journal, Keys, Progress, Provider, Remote, Session, Stop, Target,
        World,
    },
};
use providers::{aws, azure, contract::Reports, gcp, hetzner, http::Bearer, latitude, ovh, vultr};
use serde_json::json;

use crate::{
    fakes::{
        aws as fake_aws, azure as fake_azure,
        clock::TestClock,
        gcp as fake_gcp, hetzner as fake_hetzner, latitude as fake_latitude, ovh as fake_ovh,
        server::{Api, Call, Fake, Reply},
        vultr as fake_vultr,
    },
    orders::{label, order, run},
};

/// How many boxes there are in all.
const BOXES: usize = 1000;

/// How many clouds there are.
const CLOUDS: usize = 7;

/// How long an answer takes.
const LATENCY: Duration = Duration::from_millis(100);

/// How much faster time goes.
const SPEED: u32 = 10;

#[tokio::main]
async fn main() {
    let clock = TestClock::new();
    let here = Arc::new(FastClock::default());
    let clouds: Vec<Box<dyn Stand>> = vec![
        aws(&clock).await,
        azure(&clock).await,
        gcp(&clock).await,
        hetzner(&clock).await,
        latitude(&clock).await,
        ovh(&clock).await,
        vultr(&clock).await,
    ];
    for (index, cloud) in clouds.iter().enumerate() {
        for number in (0..BOXES).filter(|number| number % CLOUDS == index) {
            cloud.make(&label(&format!("box-{number}")), &clock).await;
        }
        cloud.limit();
    }
    // Every deadline is over.
    clock.sleep(Duration::from_secs(2 * 3600)).await;
    here.begin(clock.now());
    let follow = tokio::spawn(follow(clock.clone(), here.clone()));
    let world = world(&clouds, here.clone());
    let began = here.now();
    let (picked, failures) = reap::plan_reap(&world, false)
        .await
        .expect("the journal is empty");
    println!(
        "{} boxes found in {:.0} s; {} providers could not be asked",
        picked.targets.len(),
        between(began, here.now()).as_secs_f64(),
        failures.len()
    );
    let ended = reap::destroy(picked.targets, &world).await;
    let left = ended.iter().filter_map(|(targets, departure)| match departure {
        DestroyOutcome::Left { why } => Some(format!("{}: {why}", targets.label)),
        DestroyOutcome::Gone(_) => None,
    });
    let left: Vec<String> = left.collect();
    follow.abort();
    println!(
        "{} boxes gone, {} left, after {:.0} s",
        ended.len() - left.len(),
        left.len(),
        between(began, here.now()).as_secs_f64()
    );
    for cloud in &clouds {
        println!("{}", cloud.story());
    }
    if let Some(left) = left.first() {
        println!("such as {left}");
    }
}

/// One fake cloud, and the way to it.
#[async_trait]
trait Stand: Send + Sync {
    fn name(&self) -> ProviderName;

    /// Makes a box.
    async fn make(&self, label: &Label, clock: &TestClock);

    /// From now on the limits are the vendor's, and answers take their time.
    fn limit(&self);

    /// The way that `reap` goes.
    fn provider(&self, clock: Arc<dyn Clock>) -> Arc<dyn Provider>;

    /// How many calls there were.
    fn story(&self) -> String;
}

struct Served<A, C: ?Sized> {
    fake: Fake<Limited<A>>,
    api: Arc<C>,
    order: (&'static str, &'static str, &'static str),
    need: KvmNeed,
    limit: fn(&mut Limited<A>),
    calls: AtomicU64,
}

#[async_trait]
impl<A: Api, C: CloudApi + ?Sized + 'static> Stand for Served<A, C> {
    fn name(&self) -> ProviderName {
        self.api.profile().name.clone()
    }

    async fn make(&self, label: &Label, clock: &TestClock) {
        let order = Order {
            need: self.need,
            ..order(self.order, label, &run("r1"), clock)
        };
        let cloud = Cloud::new(self.api.clone(), Arc::new(clock.clone()));
        let made = cloud.up(&order, &Reports::default()).await;
        made.unwrap_or_else(|error| panic!("{label}: {error}"));
    }

    fn limit(&self) {
        (self.limit)(&mut self.fake.api());
        self.fake.set_latency(LATENCY / SPEED);
        self.calls
            .store(self.fake.calls().len() as u64, Ordering::Relaxed);
    }

    fn provider(&self, clock: Arc<dyn Clock>) -> Arc<dyn Provider> {
        Arc::new(Cloud::new(self.api.clone(), clock))
    }

    fn story(&self) -> String {
        let calls = self.fake.calls().len() as u64 - self.calls.load(Ordering::Relaxed);
        format!("{}: {calls} calls", self.name())
    }
}

/// A fake with limits that the fake itself does not have.
struct Limited<A> {
    api: A,
    clock: TestClock,
    is_read: fn(&Call) -> bool,
    refuse: fn(&mut A, &Call) -> Reply,
    /// For what reads and for what writes; none: there is no limit.
    buckets: Option<[Bucket; 2]>,
}

struct Bucket {
    size: f64,
    per_second: f64,
    left: f64,
    counted: Timestamp,
}

impl Bucket {
    fn full(size: f64, per_second: f64, clock: &TestClock) -> Self {
        Self {
            size,
            per_second,
            left: size,
            counted: clock.now(),
        }
    }

    fn take(&mut self, now: Timestamp) -> bool {
        let back = between(self.counted, now).as_secs_f64() * self.per_second;
        self.left = (self.left + back).min(self.size);
        self.counted = now;
        let is_free = self.left >= 1.0;
        if is_free {
            self.left -= 1.0;
        }
        is_free
    }
}

impl<A: Api> Limited<A> {
    fn new(api: A, clock: &TestClock, refuse: fn(&mut A, &Call) -> Reply) -> Self {
        Self {
            api,
            clock: clock.clone(),
            is_read: |call| call.method == "GET",
            refuse,
            buckets: None,
        }
    }

    fn limit(&mut self, reads: (f64, f64), writes: (f64, f64)) {
        let bucket = |(size, per_second)| Bucket::full(size, per_second, &self.clock);
        self.buckets = Some([bucket(reads), bucket(writes)]);
    }
}

impl<A: Api> Api for Limited<A> {
    fn set_url(&mut self, url: &str) {
        self.api.set_url(url);
    }

    fn names(&mut self) -> Vec<String> {
        self.api.names()
    }

    fn answer(&mut self, call: &Call) -> Reply {
        let now = self.clock.now();
        let index = usize::from(!(self.is_read)(call));
        let is_free = self
            .buckets
            .as_mut()
            .is_none_or(|buckets| buckets[index].take(now));
        let mut reply = if is_free {
            self.api.answer(call)
        } else {
            (self.refuse)(&mut self.api, call)
        };
        // Whether a box is overdue is judged by its provider's clock.
        if !reply.headers.iter().any(|(name, _)| *name == "date") {
            reply.headers.push(("date", self.clock.date()));
        }
        reply
    }

    fn mistakes(&self, call: &Call, reply: &Reply) -> Vec<String> {
        self.api.mistakes(call, reply)
    }
}

/// For a fake that has its own limits.
fn never<A>(_: &mut A, _: &Call) -> Reply {
    unreachable!("there are no buckets")
}

async fn aws(clock: &TestClock) -> Box<dyn Stand> {
    let mut api = fake_aws::Aws::new(clock);
    api.model = None;
    let mut limited = Limited::new(api, clock, |api, call| {
        api.behaviour.throttled = 1;
        api.answer(call)
    });
    limited.is_read = |call| {
        let action = fake_aws::params_of(call).remove("Action");
        action.is_some_and(|action| action.starts_with("Describe"))
    };
    let fake = Fake::serve(limited).await;
    let access = aws::Access {
        identity: Arc::new(aws::Identity::fixed(fake_aws::KEY_ID, "secret-secret")),
        ca_bundle: None,
        region: None,
        group: None,
        subnet: None,
        endpoint: Some(fake.url.clone()),
        log: None,
        time_max: None,
    };
    Box::new(Served {
        fake,
        api: Arc::new(aws::Aws::new(access).expect("an endpoint")),
        order: ("aws", "c8i.xlarge", "us-east-1"),
        need: KvmNeed::Required,
        // The buckets of EC2's API for actions that read and for those that change something.
        limit: |limited| limited.limit((100.0, 20.0), (50.0, 5.0)),
        calls: AtomicU64::new(0),
    })
}

async fn azure(clock: &TestClock) -> Box<dyn Stand> {
    let mut api = fake_azure::Azure::new(clock);
    api.behaviour.machines_max = BOXES;
    let fake = Fake::serve(Limited::new(api, clock, |api, call| {
        api.behaviour.throttled = 1;
        api.answer(call)
    }))
    .await;
    let access = azure::Access {
        subscription: fake_azure::SUBSCRIPTION.to_owned(),
        authorize: Arc::new(Bearer::new(fake_azure::TOKEN)),
        endpoint: Some(fake.url.clone()),
        prices: None,
        log: None,
        time_max: None,
    };
    Box::new(Served {
        fake,
        api: Arc::new(azure::Azure::new(access).expect("an endpoint")),
        order: ("azure", "Standard_D4s_v5", "eastus"),
        need: KvmNeed::Required,
        // The Resource Manager's buckets of a subscription, for reads and for deletes.
        limit: |limited| limited.limit((250.0, 25.0), (200.0, 10.0)),
        calls: AtomicU64::new(0),
    })
}

async fn gcp(clock: &TestClock) -> Box<dyn Stand> {
    let fake = Fake::serve(Limited::new(fake_gcp::Gcp::new(clock), clock, |_, _| {
        let error = json!({"code": 403, "message": "Quota exceeded",
            "errors": [{"reason": "rateLimitExceeded", "message": "Quota exceeded", "domain": "usageLimits"}]});
        Reply::json(403, &json!({"error": error}))
    }))
    .await;
    let access = gcp::Access {
        project: fake_gcp::PROJECT.to_owned(),
        network: None,
        subnetwork: None,
        authorize: Arc::new(Bearer::new(fake_gcp::TOKEN)),
        endpoint: Some(format!("{}/compute/v1", fake.url)),
        log: None,
        time_max: None,
    };
    Box::new(Served {
        fake,
        api: Arc::new(gcp::Gcp::new(access).expect("an endpoint")),
        order: ("gcp", "n2-standard-4", "us-central1-a"),
        need: KvmNeed::Required,
        // Compute Engine's requests a minute.
        limit: |limited| limited.limit((1500.0, 25.0), (1500.0, 25.0)),
        calls: AtomicU64::new(0),
    })
}

async fn hetzner(clock: &TestClock) -> Box<dyn Stand> {
    let mut api = fake_hetzner::Hetzner::new(clock);
    api.spec = None;
    api.behaviour.servers_max = BOXES;
    api.behaviour.bucket = 1e9;
    api.drain(1e9);
    let fake = Fake::serve(Limited::new(api, clock, never)).await;
    let access = hetzner::Access {
        token: fake_hetzner::TOKEN.to_owned(),
        endpoint: Some(format!("{}/v1", fake.url)),
        log: None,
        time_max: None,
    };
    Box::new(Served {
        fake,
        api: Arc::new(hetzner::Hetzner::new(access).expect("an endpoint")),
        order: ("hetzner", "cx43", "nbg1"),
        need: KvmNeed::None,
        limit: |limited| {
            limited.api.behaviour.bucket = 3600.0;
            limited.api.drain(3600.0);
        },
        calls: AtomicU64::new(0),
    })
}

async fn latitude(clock: &TestClock) -> Box<dyn Stand> {
    let mut api = fake_latitude::Latitude::new(clock);
    api.behaviour.servers_max = BOXES;
    api.behaviour.limits = (usize::MAX, usize::MAX);
    let fake = Fake::serve(Limited::new(api, clock, never)).await;
    let access = latitude::Access {
        token: fake_latitude::TOKEN.to_owned(),
        project: None,
        endpoint: Some(fake.url.clone()),
        log: None,
        time_max: None,
    };
    Box::new(Served {
        fake,
        api: Arc::new(latitude::Latitude::new(access).expect("an endpoint")),
        order: ("latitude", "cheapest", "any"),
        need: KvmNeed::None,
        limit: |limited| limited.api.behaviour.limits = (60, 20),
        calls: AtomicU64::new(0),
    })
}

async fn ovh(clock: &TestClock) -> Box<dyn Stand> {
    let mut api = fake_ovh::Ovh::new(clock);
    api.behaviour.quota = BOXES as i64;
    let fake = Fake::serve(Limited::new(api, clock, never)).await;
    let [application_key, application_secret, consumer_key] = fake_ovh::KEYS.map(str::to_owned);
    let access = ovh::Access {
        endpoint: format!("{}/1.0", fake.url),
        application_key,
        application_secret,
        consumer_key,
        project: fake_ovh::PROJECT.to_owned(),
        log: None,
        time_max: None,
    };
    Box::new(Served {
        fake,
        api: Arc::new(ovh::Ovh::new(access).expect("an endpoint")),
        order: ("ovh", "b3-16", "GRA11"),
        need: KvmNeed::None,
        // The vendor writes none down.
        limit: |_| {},
        calls: AtomicU64::new(0),
    })
}

async fn vultr(clock: &TestClock) -> Box<dyn Stand> {
    let mut api = fake_vultr::Vultr::new(clock);
    api.spec = None;
    api.behaviour.servers_max = BOXES;
    api.behaviour.requests_a_second = u32::MAX;
    let fake = Fake::serve(Limited::new(api, clock, never)).await;
    let access = vultr::Access {
        token: fake_vultr::KEY.to_owned(),
        endpoint: Some(format!("{}/v2", fake.url)),
        log: None,
        time_max: None,
    };
    Box::new(Served {
        fake,
        api: Arc::new(vultr::Vultr::new(access).expect("an endpoint")),
        order: ("vultr", "vx1-g-4c-16g-240s", "ewr"),
        need: KvmNeed::Required,
        limit: |limited| limited.api.behaviour.requests_a_second = 30,
        calls: AtomicU64::new(0),
    })
}

/// The machine that `reap` is run on: it knows nothing of any box.
fn world(clouds: &[Box<dyn Stand>], clock: Arc<FastClock>) -> World {
    let providers: BTreeMap<_, _> = clouds
        .iter()
        .map(|cloud| (cloud.name(), cloud.provider(clock.clone())))
        .collect();
    let nothing = Arc::new(Nothing);
    World {
        providers,
        remote: nothing.clone(),
        journal: nothing.clone(),
        clock,
        events: nothing.clone(),
        stop: nothing.clone(),
        builder: nothing.clone(),
        files: nothing,
        runs: "runs".into(),
        environment: BTreeMap::new(),
    }
}

/// An empty journal, no box to connect to, nobody who listens and nobody who stops anything.
struct Nothing;

#[async_trait]
impl Journal for Nothing {
    async fn append(&self, _: &RunId, _: Fact) -> Result<(), JournalError> {
        Ok(())
    }

    async fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        Ok(Vec::new())
    }

    async fn hold(&self, _: &RunId) -> Result<bool, JournalError> {
        Ok(true)
    }

    async fn is_held(&self, _: &RunId) -> Result<bool, JournalError> {
        Ok(false)
    }
}

#[async_trait]
impl Remote for Nothing {
    async fn keys(&self, _: &Label) -> Result<Keys, RemoteError> {
        Err(RemoteError::Here("there are no keys".to_owned()))
    }

    async fn connect(&self, _: &Target) -> Result<Arc<dyn Session>, RemoteError> {
        Err(RemoteError::Unreachable(
            "there are no boxes behind the fakes".to_owned(),
        ))
    }

    async fn pin(&self, _: &Label, _: &[String]) -> Result<(), RemoteError> {
        Ok(())
    }

    async fn forget(&self, _: &Label) -> Result<(), RemoteError> {
        Ok(())
    }
}

impl Events for Nothing {
    fn emit(&self, _: EventRecord) {}
}

#[async_trait]
impl Stop for Nothing {
    async fn asked(&self) {
        std::future::pending().await
    }

    fn is_asked(&self) -> bool {
        false
    }
}

#[async_trait]
impl Files for Nothing {
    async fn write(&self, _: &Utf8Path, _: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

#[async_trait]
impl Builder for Nothing {
    async fn build(&self, _: &BuildOrder, _: &dyn Progress) -> Result<Built, String> {
        Err("nothing is compiled".to_owned())
    }
}

/// A clock that goes faster than this machine's.
struct FastClock {
    first: OnceLock<(Timestamp, Instant)>,
    random: AtomicU64,
}

impl Default for FastClock {
    fn default() -> Self {
        Self {
            first: OnceLock::new(),
            random: AtomicU64::new(1),
        }
    }
}

impl FastClock {
    /// It is this moment now.
    fn begin(&self, first: Timestamp) {
        self.first.set((first, Instant::now())).expect("it begins once");
    }
}

#[async_trait]
impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        let (first, at) = self.first.get().expect("it has begun");
        after(*first, at.elapsed() * SPEED)
    }

    async fn sleep(&self, length: Duration) {
        tokio::time::sleep(length / SPEED).await;
    }

    fn random(&self) -> u64 {
        self.random.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed)
    }
}

/// Lets the fakes' clock go with the client's.
async fn follow(clock: TestClock, here: Arc<FastClock>) {
    loop {
        tokio::time::sleep(Duration::from_millis(2)).await;
        clock.sleep(between(clock.now(), here.now())).await;
    }
}
