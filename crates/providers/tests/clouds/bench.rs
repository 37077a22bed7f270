//! What the tests of all clouds share: a provider over its fake, and boxes that are brought up and down there.

use std::{sync::Arc, time::Duration};

use engine::cloud::Cloud;
use model::{
    cloud::CloudApi,
    error::ProviderError,
    lane::KvmNeed,
    machine::{Gone, Health, Machine},
    name::{Label, RunId},
    options::Options,
    order::Order,
    price::Quote,
    selector::Selector,
    time::Deadline,
    world::{Clock, Provider},
};
use providers::contract::Reports;
use serde_json::{Value, json};

use crate::{
    fakes::{
        clock::TestClock,
        server::{Api, Fake, Fault},
    },
    orders::{self, label, run},
};

/// A provider over the fake, and both ends of it.
pub(crate) struct Bench<A, F> {
    pub(crate) cloud: Cloud<A>,
    pub(crate) fake: Fake<F>,
    pub(crate) clock: TestClock,
    /// Provider, type and region of what is ordered.
    pub(crate) place: (&'static str, &'static str, &'static str),
    need: KvmNeed,
}

impl<A: CloudApi, F: Api> Bench<A, F> {
    /// Serves a fake, and makes its client of the address at which it answers.
    pub(crate) async fn serve(
        place: (&'static str, &'static str, &'static str),
        fake: impl FnOnce(&TestClock) -> F,
        client: impl FnOnce(&str) -> Result<A, ProviderError>,
    ) -> Self {
        let clock = TestClock::new();
        let fake = Fake::serve(fake(&clock)).await;
        let api = client(&fake.url).expect("its endpoint is a URL");
        Self {
            cloud: Cloud::new(Arc::new(api), Arc::new(clock.clone())),
            fake,
            clock,
            place,
            need: KvmNeed::None,
        }
    }

    /// Has its orders ask for KVM.
    pub(crate) fn with_kvm(self) -> Self {
        Self {
            need: KvmNeed::Required,
            ..self
        }
    }

    /// Asks the cloud what an hour costs, in millionths of a unit, and lets that count.
    pub(crate) async fn asked(&self, instance_type: &str, region: &str) -> Option<(i64, String)> {
        let prices = self.cloud.prices().unwrap();
        let hourly = prices.ask(instance_type, region).await.unwrap();
        prices.take(vec![Quote {
            instance_type: instance_type.to_owned(),
            region: region.to_owned(),
            hourly: hourly.clone(),
            asked: "2026-11-27T12:00:00Z".parse().unwrap(),
        }]);
        if hourly.is_some() {
            let counted = prices.hourly(instance_type, region).unwrap();
            assert_eq!(counted, (hourly.clone().unwrap(), "2026-11-27".to_owned()));
        }
        hourly.map(|price| (price.micros, price.currency))
    }

    pub(crate) fn order_for(&self, label: &Label, run: &RunId) -> Order {
        Order {
            need: self.need,
            ..orders::order(self.place, label, run, &self.clock)
        }
    }

    pub(crate) fn order(&self, name: &str) -> Order {
        self.order_for(&label(name), &run("r1"))
    }

    pub(crate) fn order_of(&self, instance_type: &str, region: &str) -> Order {
        let mut order = self.order("box-1");
        order.candidate.instance_type = instance_type.to_owned();
        order.candidate.region = region.to_owned();
        order
    }

    pub(crate) async fn make(&self, order: &Order) -> Result<Machine, ProviderError> {
        self.cloud.up(order, &Reports::default()).await
    }

    /// Orders box-1 with what `set` asks for beside its size.
    pub(crate) fn order_with(&self, set: impl FnOnce(&mut Options)) -> Order {
        let mut order = self.order("box-1");
        set(&mut order.candidate.options);
        order
    }

    /// Makes box-1 with tags of the user's own, and moves its deadline: `tags` returns those that it has at the cloud.
    pub(crate) async fn keeps_the_users_tags(&self, tags: impl Fn(&mut F) -> Value) {
        let order = self.order_with(|options| {
            options.tags.insert("team".to_owned(), "ci".to_owned());
        });
        self.make(&order).await.unwrap();
        for is_extended in [false, true] {
            if is_extended {
                let deadline = Deadline::at_unix(order.tags.deadline.unix() - 600);
                let own = self.cloud.own_deadline().unwrap();
                own.move_deadline(&label("box-1"), deadline).await.unwrap();
            }
            let found = tags(&mut self.fake.api());
            assert_eq!(
                (&found["team"], &found["mvm-label"]),
                (&json!("ci"), &json!("box-1")),
                "{found}"
            );
        }
        self.down("box-1").await.unwrap();
        assert_eq!(self.names(), Vec::<String>::new());
    }

    /// Makes box-1 as a spot box, which the cloud takes back, and returns what is said of it then.
    pub(crate) async fn health_of_spot_box(&self, take_back: impl Fn(&mut F)) -> Health {
        let machine = self
            .make(&self.order_with(|options| options.spot = true))
            .await
            .unwrap();
        take_back(&mut self.fake.api());
        self.clock.sleep(Duration::from_secs(120)).await;
        let health = self.cloud.health(&machine).await.unwrap();
        self.down("box-1").await.unwrap();
        assert_eq!(self.names(), Vec::<String>::new());
        health
    }

    pub(crate) async fn up(&self, name: &str) -> Result<Machine, ProviderError> {
        self.make(&self.order(name)).await
    }

    /// Orders a box that is not to be had, and returns what that means.
    pub(crate) async fn refused(&self) -> ProviderError {
        self.up("box-1").await.expect_err("the fake refuses")
    }

    pub(crate) async fn down(&self, name: &str) -> Result<Vec<Gone>, ProviderError> {
        let selector = Selector::Label(label(name));
        self.cloud.down(&selector, &Reports::default()).await
    }

    pub(crate) async fn down_all(&self) -> Vec<Gone> {
        let reports = Reports::default();
        let gone = self.cloud.down(&Selector::AllOurs, &reports).await;
        gone.expect("all goes")
    }

    pub(crate) fn names(&self) -> Vec<String> {
        self.fake.names()
    }

    /// Lists boxes while every page of a list names a next one, as `set` has it: the list is given up, and no box lost.
    pub(crate) async fn gives_up_a_list_without_an_end(&self, set: impl Fn(&mut F, bool)) {
        self.up("box-1").await.unwrap();
        set(&mut self.fake.api(), true);
        let error = self.cloud.listing().unwrap().list().await.unwrap_err();
        assert!(error.cause.contains("more than 200 pages"), "{error}");
        set(&mut self.fake.api(), false);
        self.down("box-1").await.unwrap();
        assert_eq!(self.names(), Vec::<String>::new());
    }

    /// Lists boxes while `add` puts a row of somebody else's into each answer: all others are still listed.
    pub(crate) async fn lists_all_beside_a_row(&self, add: impl Fn(&mut Value) + Send + 'static) {
        self.up("box-1").await.unwrap();
        let listing = self.cloud.listing().unwrap();
        let before = listing.list().await.unwrap();
        self.fake.alter(Some(Box::new(move |body| {
            let mut page = serde_json::from_slice(&body).expect("it is JSON");
            add(&mut page);
            page.to_string().into_bytes()
        })));
        let after = listing.list().await.unwrap();
        self.fake.alter(None);
        assert_eq!(after, before);
        self.down("box-1").await.unwrap();
    }

    /// Brings one box up although one call goes wrong, and down again. The call is recognised by how its method and path
    /// begin, and by what is in its body. `check` looks at what is there meanwhile.
    pub(crate) async fn survive(self, call: (&str, &str), fault: Fault, check: impl FnOnce(&Self)) -> Self {
        self.fake.fault_in_body(call.0, call.1, fault.clone());
        let outcome = self.up("box-1").await;
        outcome.unwrap_or_else(|error| panic!("{call:?} with {fault:?}: {error}"));
        check(&self);
        self.down("box-1").await.unwrap();
        assert_eq!(self.names(), Vec::<String>::new(), "{call:?} with {fault:?}");
        self
    }
}

/// What all clouds promise of a box with a private address.
pub(crate) fn is_private(machine: &Machine) {
    let std::net::IpAddr::V4(address) = machine.address else {
        panic!("{}", machine.address);
    };
    assert!(address.is_private(), "{address}");
    let jump = machine.jump.as_ref().map(ToString::to_string);
    assert_eq!(jump.as_deref(), Some("eve@bastion"));
}

/// Asks for such a box.
pub(crate) fn private(options: &mut Options) {
    options.private = true;
    options.jump = Some("eve@bastion".parse().expect("it is an address"));
}
