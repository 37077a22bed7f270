//! OVHcloud, through the engine's `Cloud`, against its fake.

use std::time::Duration;

use model::{
    cloud::CloudApi,
    error::ErrorKind,
    lane::KvmNeed,
    machine::ResourceKind,
    name::{Label, RunId},
    order::Order,
    tag_line,
    time::Deadline,
    world::{Clock, Provider},
};
use providers::{
    contract::{self, Hooks},
    ovh::{Access, Ovh},
};

use crate::{
    bench,
    fakes::{
        ovh::{KEYS, Ovh as FakeOvh, PROJECT},
        server::{Fault, Reply},
    },
    fuzz, permissions,
};

type Bench = bench::Bench<Ovh, FakeOvh>;

impl Bench {
    async fn new() -> Self {
        Self::with(KEYS, PROJECT).await
    }

    async fn with(keys: [&str; 3], project: &str) -> Self {
        let client = |url: &str| {
            Ovh::new(Access {
                endpoint: format!("{url}/1.0"),
                application_key: keys[0].to_owned(),
                application_secret: keys[1].to_owned(),
                consumer_key: keys[2].to_owned(),
                project: project.to_owned(),
                log: None,
                time_max: None,
            })
        };
        Self::serve(("ovh", "b3-16", "GRA11"), FakeOvh::new, client).await
    }

    async fn survives(call: &str, fault: Fault) -> Self {
        let both_are_there = |bench: &Self| {
            let names = bench.names();
            assert_eq!(names.len(), 2, "a box and its key: {names:?}");
        };
        let bench = Self::new().await;
        bench.survive((call, ""), fault, both_are_there).await
    }
}

impl Hooks for Bench {
    fn order(&self, label: &Label, run: &RunId) -> Order {
        self.order_for(label, run)
    }

    fn plant_foreign(&self, label: &Label) {
        self.fake.api().plant(label.as_str());
    }

    fn has_foreign(&self, label: &Label) -> bool {
        let names = self.names();
        ["instance", "sshkey"]
            .iter()
            .all(|list| names.contains(&format!("{list}/{label}")))
    }

    fn has_remains(&self, label: &Label) -> bool {
        let is_of = |name: &String| name.contains(&format!("/mvm-ephemeral_l{label}_"));
        self.names().iter().any(is_of)
    }
}

fn path(rest: &str) -> String {
    format!("/1.0/cloud/project/{PROJECT}/{rest}")
}

#[tokio::test]
async fn mutated_answers_leave_nothing() {
    fuzz::check(Bench::new().await).await;
}

#[tokio::test]
async fn it_keeps_the_contract() {
    let bench = Bench::new().await;
    contract::check_all(&bench.cloud, &bench).await;
}

#[tokio::test]
async fn requests_are_signed_for_the_time_at_the_api_which_is_asked_once() {
    let bench = Bench::new().await;
    let machine = bench.up("box-1").await.unwrap();
    assert_eq!(
        machine.address.to_string(),
        "203.0.113.20",
        "public, and of version 4"
    );
    assert_eq!(machine.instance_type, "b3-16");
    assert_eq!(bench.fake.count("GET /1.0/auth/time"), 1);
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn the_tags_are_in_the_name_from_the_create_call_on() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    bench.make(&order).await.unwrap();
    let line = tag_line::write(&order.tags);
    assert_eq!(
        bench.names(),
        [format!("instance/{line}"), format!("sshkey/{line}")]
    );
    assert_eq!(bench.fake.count("PUT"), 0, "nothing is tagged afterwards");
    let user_data = bench.fake.api().user_data.clone();
    assert!(user_data.contains(&order.user_data), "{user_data}");
    assert!(
        user_data.contains("saddr 203.0.113.7/32"),
        "the box's own firewall: {user_data}"
    );
    let gone = bench.down("box-1").await.unwrap();
    let kinds: Vec<_> = gone.iter().map(|gone| gone.kind).collect();
    assert_eq!(kinds, [ResourceKind::Machine, ResourceKind::Key]);
}

#[tokio::test]
async fn a_new_deadline_is_a_new_name() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    bench.make(&order).await.unwrap();
    bench.clock.sleep(Duration::from_secs(60)).await;
    let deadline = Deadline::after(bench.clock.now(), Duration::from_secs(7200));
    let own = bench.cloud.own_deadline().unwrap();
    own.move_deadline(&order.tags.label, deadline).await.unwrap();
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    let machine = listed
        .iter()
        .find(|listed| listed.kind == ResourceKind::Machine)
        .unwrap();
    let tags = machine.tags.as_ref().unwrap();
    assert_eq!((tags.deadline, &tags.run), (deadline, &order.tags.run));
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_or_garbage_is_found() {
    for fault in [
        Fault::LoseAnswer,
        Fault::Garbage,
        Fault::Belie(Reply::text(504, "gateway timeout")),
        Fault::Belie(Reply::text(
            500,
            r#"{"class":"Server::InternalServerError","message":"oops"}"#,
        )),
    ] {
        let bench = Bench::survives(&format!("POST {}", path("instance")), fault).await;
        assert_eq!(bench.fake.count(&format!("POST {}", path("instance"))), 1);
    }
}

#[tokio::test]
async fn a_create_that_never_arrives_is_not_repeated_without_a_token() {
    let bench = Bench::new().await;
    bench
        .fake
        .fault(&format!("POST {}", path("instance")), Fault::LoseCall);
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Unanswered);
    assert_eq!(bench.fake.count(&format!("POST {}", path("instance"))), 1);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_that_arrives_twice_leaves_nothing() {
    let bench = Bench::new().await;
    bench
        .fake
        .fault(&format!("POST {}", path("instance")), Fault::Twice);
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new(), "both went");
}

#[tokio::test]
async fn every_other_call_may_be_lost_or_garbage() {
    for call in ["GET /1.0/auth/time".to_owned()]
        .into_iter()
        .chain(["flavor", "image", "sshkey", "instance"].map(|list| format!("GET {}", path(list))))
        .chain([format!("POST {}", path("sshkey"))])
    {
        for fault in [Fault::LoseAnswer, Fault::LoseCall, Fault::Garbage] {
            Bench::survives(&call, fault).await;
        }
    }
    for list in ["instance", "sshkey"] {
        for fault in [Fault::LoseAnswer, Fault::LoseCall] {
            Bench::survives(&format!("DELETE {}", path(list)), fault).await;
        }
    }
}

#[tokio::test]
async fn what_is_sold_out_is_no_capacity() {
    let bench = Bench::new().await;
    let place = ("b3-16".to_owned(), "GRA11".to_owned());
    bench.fake.api().behaviour.sold_out.insert(place);
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    assert!(
        refusal.cause.contains("b3-16 is out of stock in GRA11"),
        "{refusal}"
    );
    assert_eq!(bench.names(), Vec::<String>::new(), "nothing was made for it");

    let bench = Bench::new().await;
    bench.fake.api().behaviour.runs_out = true;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity, "{refusal}");
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_build_that_ends_in_an_error_is_no_capacity() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.fails_later = true;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_region_that_does_not_sell_the_type_says_which_do() {
    let bench = Bench::new().await;
    let refusal = bench.make(&bench.order_of("bm-s1", "GRA11")).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    assert_eq!(refusal.help.as_deref(), Some("these do: GRA9"), "{refusal}");
    let refusal = bench
        .make(&bench.order_of("b3-16", "NOWHERE1"))
        .await
        .unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert_eq!(
        refusal.help.as_deref(),
        Some("it has GRA11, GRA9, SBG5"),
        "{refusal}"
    );
    let refusal = bench.make(&bench.order_of("b9-1", "GRA11")).await.unwrap_err();
    assert!(refusal.cause.contains("sells no type b9-1"), "{refusal}");
}

#[tokio::test]
async fn an_image_that_is_not_there_is_named_with_those_that_are() {
    let bench = Bench::new().await;
    let mut order = bench.order("box-1");
    order.candidate.image = Some("Plan 9".to_owned());
    let refusal = bench.make(&order).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(refusal.help.unwrap().contains("Debian 12"));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn bare_metal_has_images_of_its_own() {
    let bench = Bench::new().await;
    let order = Order {
        need: KvmNeed::Metal,
        ..bench.order_of("bm-s1", "GRA9")
    };
    let machine = bench.make(&order).await.unwrap();
    assert_eq!(
        (machine.instance_type.as_str(), machine.region.as_str()),
        ("bm-s1", "GRA9")
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_is_billed_by_the_month_is_undone_at_once() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.is_monthly = true;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(
        refusal.cause.contains("by the month") && refusal.cause.contains("deleted at once"),
        "{refusal}"
    );
    let calls = bench.fake.calls();
    let created = calls
        .iter()
        .position(|call| *call == format!("POST {}", path("instance")))
        .unwrap();
    assert!(
        calls[created + 1].starts_with(&format!("DELETE {}", path("instance"))),
        "{calls:?}"
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn the_accounts_limit_is_a_quota() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.quota = 0;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::QuotaReached);
    assert!(refusal.cause.contains("quota in GRA11"), "{refusal}");
}

#[tokio::test]
async fn too_many_requests_are_waited_out() {
    for at in 2..8 {
        let bench = Bench::new().await;
        bench.fake.api().behaviour.limit_at = Some(at);
        bench.up("box-1").await.unwrap();
        bench.down("box-1").await.unwrap();
        assert_eq!(bench.names(), Vec::<String>::new(), "{at}");
    }
}

#[tokio::test]
async fn keys_that_are_wrong_are_distinguished_and_never_shown() {
    let secret = "a-wrong-secret-a-wrong-secret";
    for (keys, code) in [
        ([KEYS[0], secret, KEYS[2]], "INVALID_SIGNATURE"),
        ([KEYS[0], KEYS[1], secret], "NOT_CREDENTIAL"),
        ([secret, KEYS[1], KEYS[2]], "INVALID_KEY"),
    ] {
        let bench = Bench::with(keys, PROJECT).await;
        let refusal = bench.refused().await;
        assert_eq!(refusal.kind, ErrorKind::Unauthorized);
        assert!(refusal.cause.contains(code), "{refusal}");
        assert!(
            refusal.help.as_ref().unwrap().contains("OVH_CONSUMER_KEY"),
            "{refusal:?}"
        );
        assert!(
            !format!("{refusal} {refusal:?}").contains("wrong-secret"),
            "{refusal:?}"
        );
    }
}

#[tokio::test]
async fn keys_that_expire_in_the_middle_leave_a_box_that_is_found_later() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.expires_after = Some(0);
    let refusal = bench.down("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    assert!(refusal.help.unwrap().contains("OVH_CONSUMER_KEY"));
    bench.fake.api().behaviour.expires_after = None;
    assert_eq!(bench.down("box-1").await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_project_that_does_not_exist_is_named_as_that() {
    let bench = Bench::with(KEYS, "ffffffffffffffffffffffffffffffff").await;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NotFound);
    assert!(refusal.help.unwrap().contains("OVH_CLOUD_PROJECT_SERVICE"));
}

#[tokio::test]
async fn damaged_tags_are_listed_and_not_decided_about() {
    let bench = Bench::new().await;
    bench.fake.api().plant("mvm-ephemeral_lbox-1_r!");
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    assert!(
        listed.len() == 2 && listed.iter().all(|listed| listed.tags.is_none()),
        "{listed:?}"
    );
    let refusal = bench.refused().await;
    assert_eq!(
        refusal.kind,
        ErrorKind::Taken,
        "whose box that is cannot be determined"
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new(), "the label stands");
}

#[tokio::test]
async fn a_foreign_box_of_that_name_is_left_alone() {
    let bench = Bench::new().await;
    bench.fake.api().plant("box-1");
    let before = bench.names();
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), before);
}

#[tokio::test]
async fn user_data_that_is_too_long_is_refused_before_anything_is_made() {
    let bench = Bench::new().await;
    let mut order = bench.order("box-1");
    order.user_data = "#".repeat(49_152);
    let refusal = bench.make(&order).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert_eq!(bench.fake.count("POST"), 0);
}

#[tokio::test]
async fn a_type_that_cannot_serve_the_lane_is_refused_before_any_call() {
    let bench = Bench::new().await;
    for (instance_type, need) in [("b3-16", KvmNeed::Metal), ("bm-s1", KvmNeed::Nested)] {
        let order = Order {
            need,
            ..bench.order_of(instance_type, "GRA11")
        };
        assert_eq!(bench.make(&order).await.unwrap_err().kind, ErrorKind::NoKvm);
    }
    assert_eq!(bench.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn doctor_says_what_could_be_had_and_what_ovh_lacks() {
    let bench = Bench::new().await;
    let preflight = bench.cloud.preflight().unwrap();
    let findings = preflight.preflight("b3-16", "GRA11", KvmNeed::Required).await;
    assert!(findings.iter().all(|finding| finding.is_good), "{findings:?}");
    let found = |what: &str| {
        findings
            .iter()
            .find(|finding| finding.what == what)
            .unwrap()
            .found
            .clone()
    };
    assert!(found("credentials").contains("until 2027-01-01"));
    assert!(found("type").contains("20 more"));
    assert!(
        found("price").starts_with("0.10 EUR an hour"),
        "{}",
        found("price")
    );
    assert!(found("kvm").contains("Spare Cores"));
    assert!(found("firewall").contains("nftables"));
    let findings = preflight.preflight("bm-s1", "GRA11", KvmNeed::Nested).await;
    let bad: Vec<_> = findings.iter().filter(|finding| !finding.is_good).collect();
    assert_eq!(
        bad.iter()
            .map(|finding| finding.what.as_str())
            .collect::<Vec<_>>(),
        ["type", "kvm"]
    );
    assert!(bad[0].help.as_ref().unwrap().contains("GRA9"));
}

#[tokio::test]
async fn doctor_stops_asking_when_the_keys_are_wrong() {
    let bench = Bench::with([KEYS[0], "wrong", KEYS[2]], PROJECT).await;
    let findings = bench
        .cloud
        .preflight()
        .unwrap()
        .preflight("b3-16", "GRA11", KvmNeed::None)
        .await;
    assert!(!findings[0].is_good && findings[0].help.is_some(), "{findings:?}");
    assert_eq!(bench.fake.count("GET"), 2, "the time, and the credentials");
}

#[test]
fn prices_in_euros_hold_in_europe_alone() {
    let of = |endpoint: &str| {
        Ovh::new(Access {
            endpoint: endpoint.to_owned(),
            application_key: "k".to_owned(),
            application_secret: "s".to_owned(),
            consumer_key: "c".to_owned(),
            project: PROJECT.to_owned(),
            log: None,
            time_max: None,
        })
    };
    assert!(of("ovh-eu").unwrap().prices().is_some());
    assert!(of("ovh-us").unwrap().prices().is_none());
    let error = of("ovh").err().expect("it is neither a name nor a URL");
    assert!(error.help.unwrap().contains("ovh-eu"));
}

#[tokio::test]
async fn reported_prices_count_more_than_the_table() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.asked("b3-16", "GRA11").await,
        Some((213_300, "EUR".to_owned()))
    );
    assert_eq!(bench.asked("b3-999", "GRA11").await, None);
    assert_eq!(bench.fake.count("GET"), 1, "the catalogue is asked for once");
}

#[tokio::test]
async fn page_lists_the_rights_of_all_calls() {
    let bench = Bench::new().await;
    let needed = permissions::of_a_life(&bench, &bench.order("box-1"), permissions::ovh).await;
    let listed = providers::permissions("ovh").unwrap().lines();
    let listed = listed.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    assert_eq!(listed.collect::<std::collections::BTreeSet<_>>(), needed);
}
