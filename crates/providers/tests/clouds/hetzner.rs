//! Hetzner Cloud, through the engine's `Cloud`, against its fake.

use std::time::Duration;

use model::{
    error::ErrorKind,
    lane::KvmNeed,
    machine::ResourceKind,
    name::{Label, RunId},
    order::Order,
    time::Deadline,
    world::{Clock, Provider},
};
use providers::{
    contract::{self, Hooks, Reports},
    hetzner::{Access, Hetzner},
};
use serde_json::json;

use crate::{
    bench,
    fakes::{
        hetzner::{Hetzner as FakeHetzner, TOKEN},
        server::{Fault, Reply},
    },
    fuzz,
    orders::label,
};

type Bench = bench::Bench<Hetzner, FakeHetzner>;

impl Bench {
    async fn new() -> Self {
        Self::with(TOKEN, None).await
    }

    /// Answers that do not come within the time count as lost. Only for tests in which one never comes.
    async fn impatient() -> Self {
        Self::with(TOKEN, Some(Duration::from_secs(1))).await
    }

    async fn with(token: &str, time_max: Option<Duration>) -> Self {
        let client = |url: &str| {
            Hetzner::new(Access {
                token: token.to_owned(),
                endpoint: Some(format!("{url}/v1")),
                log: None,
                time_max,
            })
        };
        Self::serve(("hetzner", "cx43", "nbg1"), FakeHetzner::new, client).await
    }

    /// There is one box of that name, and there never were two.
    #[track_caller]
    fn assert_one(&self) {
        let most = self.fake.api().most_of_a_name.get("box-1").copied();
        assert_eq!(most, Some(1), "{:?}", self.fake.calls());
    }

    async fn survives(call: &str, fault: Fault) -> Self {
        let bench = Self::new().await;
        bench.survive((call, ""), fault, Self::assert_one).await
    }
}

impl Hooks for Bench {
    fn order(&self, label: &Label, run: &RunId) -> Order {
        self.order_for(label, run)
    }

    fn plant_foreign(&self, label: &Label) {
        self.fake.api().plant(label.as_str(), &json!({"team": "other"}));
    }

    fn has_foreign(&self, label: &Label) -> bool {
        let names = self.names();
        ["servers", "ssh_keys", "firewalls"]
            .iter()
            .all(|list| names.contains(&format!("{list}/{label}")))
    }

    fn has_remains(&self, label: &Label) -> bool {
        let names = self.names();
        let is_of = |name: &String| {
            name.split_once('/')
                .is_some_and(|(_, name)| name == label.as_str())
        };
        names.iter().any(is_of)
    }
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
async fn nothing_is_left_but_what_was_there() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    assert_eq!(
        bench.names().len(),
        4,
        "box, key, firewall, address: {:?}",
        bench.names()
    );
    let gone = bench.down("box-1").await.unwrap();
    let kinds: Vec<_> = gone.iter().map(|gone| gone.kind).collect();
    assert_eq!(
        kinds,
        [
            ResourceKind::Machine,
            ResourceKind::Address,
            ResourceKind::Key,
            ResourceKind::Firewall
        ]
    );
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn an_address_that_does_not_go_by_itself_is_destroyed() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.address_outlives = None;
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn everything_is_tagged_by_the_call_that_makes_it() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    bench.make(&order).await.unwrap();
    let server = bench.fake.api().server("box-1").unwrap();
    assert_eq!(server["labels"], json!(order.tags.pairs()));
    assert_eq!(bench.fake.count("PUT"), 0, "nothing is tagged afterwards");
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_found() {
    let bench = Bench::survives("POST /v1/servers", Fault::LoseAnswer).await;
    assert_eq!(bench.fake.count("POST /v1/servers"), 1);
}

#[tokio::test]
async fn a_create_that_never_arrives_is_looked_for_and_then_repeated() {
    let bench = Bench::survives("POST /v1/servers", Fault::LoseCall).await;
    assert_eq!(bench.fake.count("POST /v1/servers"), 2);
    let calls = bench.fake.calls();
    let creates: Vec<_> = (0..calls.len())
        .filter(|&at| calls[at] == "POST /v1/servers")
        .collect();
    assert!(
        calls[creates[0]..creates[1]]
            .iter()
            .any(|call| call == "GET /v1/servers"),
        "{calls:?}"
    );
}

#[tokio::test]
async fn a_create_that_arrives_twice_makes_one_box() {
    let bench = Bench::survives("POST /v1/servers", Fault::Twice).await;
    assert_eq!(
        bench.fake.count("POST /v1/servers"),
        1,
        "a refused name is not tried again"
    );
}

#[tokio::test]
async fn a_create_that_is_answered_with_garbage_is_found() {
    let bench = Bench::survives("POST /v1/servers", Fault::Garbage).await;
    assert_eq!(bench.fake.count("POST /v1/servers"), 1);
}

#[tokio::test]
async fn a_create_that_is_answered_with_504_in_plain_text_is_found() {
    let bench = Bench::survives(
        "POST /v1/servers",
        Fault::Belie(Reply::text(504, "upstream request timeout")),
    )
    .await;
    assert_eq!(bench.fake.count("POST /v1/servers"), 1);
}

#[tokio::test]
async fn a_create_that_is_never_answered_is_found() {
    let bench = Bench::impatient().await;
    bench.fake.fault("POST /v1/servers", Fault::Hang);
    bench.up("box-1").await.unwrap();
    bench.assert_one();
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn answers_that_come_late_are_waited_for() {
    let bench = Bench::new().await;
    bench.fake.set_latency(Duration::from_millis(50));
    bench.up("box-1").await.unwrap();
    bench.assert_one();
    assert_eq!(bench.fake.count("POST /v1/servers"), 1);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn every_other_call_may_be_lost_late_or_garbage() {
    for call in [
        "GET /v1/servers",
        "POST /v1/ssh_keys",
        "POST /v1/firewalls",
        "DELETE /v1/servers",
        "DELETE /v1/ssh_keys",
    ] {
        for fault in [
            Fault::LoseAnswer,
            Fault::LoseCall,
            Fault::Refuse(Reply::text(502, "<html>bad gateway")),
            Fault::Refuse(Reply::text(
                503,
                r#"{"error":{"code":"maintenance","message":"m","details":null}}"#,
            )),
        ] {
            Bench::survives(call, fault).await;
        }
    }
    for call in [
        "GET /v1/servers",
        "POST /v1/ssh_keys",
        "POST /v1/firewalls",
        "GET /v1/firewalls",
    ] {
        Bench::survives(call, Fault::Garbage).await;
    }
}

#[tokio::test]
async fn a_create_that_stays_unanswered_says_so() {
    let bench = Bench::new().await;
    for _ in 0..4 {
        bench.fake.fault("POST /v1/servers", Fault::LoseCall);
    }
    assert_eq!(bench.refused().await.kind, ErrorKind::Unanswered);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_sold_out_is_no_capacity() {
    let bench = Bench::new().await;
    bench
        .fake
        .api()
        .behaviour
        .sold_out
        .insert(("cx43".to_owned(), "nbg1".to_owned()));
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    assert!(refusal.cause.contains("resource_unavailable"), "{refusal}");
    assert!(refusal.help.unwrap().contains("cpx"));
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new(), "key and firewall went too");
}

#[tokio::test]
async fn a_create_that_fails_after_its_answer_is_no_capacity() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.fails_later = Some("resource_unavailable");
    assert_eq!(bench.refused().await.kind, ErrorKind::NoCapacity);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_box_that_never_runs_is_given_up() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.boot = Duration::from_secs(100_000);
    let refusal = bench.refused().await;
    assert!(
        refusal.cause.contains("initializing after 10 minutes"),
        "{refusal}"
    );
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn server_that_is_off_between_its_two_actions_is_pending() {
    let bench = Bench::new().await;
    // Longer than any young box may be off: its actions decide.
    bench.fake.api().behaviour.boot = Duration::from_secs(590);
    bench.up("box-1").await.unwrap();
    bench.assert_one();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn server_that_stays_off_is_refused() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.stays_off = true;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(refusal.cause.contains("exists and is off"), "{refusal}");
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn location_is_read_where_older_answers_have_it() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.is_dated = true;
    // The description of today has no such answers.
    bench.fake.api().spec = None;
    assert_eq!(bench.up("box-1").await.unwrap().region, "nbg1");
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    let of_box = listed.iter().find(|it| it.kind == ResourceKind::Machine);
    assert_eq!(of_box.unwrap().region, "nbg1");
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn the_accounts_limit_is_a_quota() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.servers_max = 0;
    assert_eq!(bench.refused().await.kind, ErrorKind::QuotaReached);
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized_and_never_shown() {
    let bench = Bench::with("a-wrong-token-a-wrong-token", None).await;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    assert!(refusal.help.as_ref().unwrap().contains("HCLOUD_TOKEN"));
    assert!(
        !format!("{refusal} {refusal:?}").contains("wrong-token"),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_token_that_may_only_read_is_unauthorized() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.is_readonly = true;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    assert!(refusal.help.unwrap().contains("read and write"));
}

#[tokio::test]
async fn white_space_around_the_token_does_not_matter() {
    let bench = Bench::with(&format!("  {TOKEN}\n"), None).await;
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn too_many_requests_are_waited_out() {
    let bench = Bench::new().await;
    bench.fake.api().drain(2.0);
    let reports = Reports::default();
    bench.cloud.up(&bench.order("box-1"), &reports).await.unwrap();
    bench.assert_one();
    assert!(
        reports
            .all()
            .iter()
            .any(|line| line.contains("rate_limit_exceeded")),
        "{:?}",
        reports.all()
    );
    bench.fake.api().drain(0.0);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn the_message_of_a_rate_limit_loses_its_piece_of_the_token() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.bucket = 0.001;
    let refusal = bench.refused().await;
    assert!(
        matches!(refusal.kind, ErrorKind::RateLimited { retry_after: Some(_) }),
        "{refusal:?}"
    );
    assert!(
        refusal.cause.contains("[secret]") && !refusal.cause.contains(&TOKEN[..8]),
        "{refusal}"
    );
}

#[tokio::test]
async fn all_pages_are_listed() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.page_max = 2;
    for name in ["box-1", "box-2", "box-3", "box-4", "box-5"] {
        bench.up(name).await.unwrap();
    }
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    let boxes = listed
        .iter()
        .filter(|listed| listed.kind == ResourceKind::Machine)
        .count();
    assert_eq!(boxes, 5);
    let gone = bench.down_all().await;
    assert_eq!(gone.len(), 20, "{gone:?}");
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn list_of_endless_pages_is_an_error() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    for page in ["last_page", "next_page"] {
        bench.fake.alter(Some(Box::new(move |body| {
            let mut answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
            if let Some(pagination) = answer.pointer_mut("/meta/pagination") {
                *pagination = json!({ "page": 1, page: u32::MAX });
            }
            answer.to_string().into_bytes()
        })));
        let error = bench.cloud.listing().unwrap().list().await.unwrap_err();
        assert!(error.cause.contains("more than"), "{page}: {error}");
    }
}

#[tokio::test]
async fn what_was_just_made_and_is_not_listed_yet_is_destroyed() {
    let bench = Bench::new().await;
    bench
        .fake
        .api()
        .plant("box-1", &json!(bench.order("box-1").tags.pairs()));
    let gone = bench.down("box-1").await.unwrap();
    assert!(
        gone.iter().any(|gone| gone.kind == ResourceKind::Machine),
        "{gone:?}"
    );
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn damaged_tags_are_listed_and_not_decided_about() {
    let bench = Bench::new().await;
    let mut pairs = bench.order("box-1").tags.pairs();
    pairs.insert("mvm-deadline".to_owned(), "tomorrow".to_owned());
    bench.fake.api().plant("box-1", &json!(pairs));
    bench.clock.sleep(Duration::from_secs(60)).await;
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    assert!(
        listed.len() >= 3 && listed.iter().all(|listed| listed.tags.is_none()),
        "{listed:?}"
    );
    let refusal = bench.refused().await;
    assert_eq!(
        refusal.kind,
        ErrorKind::Taken,
        "whose box that is cannot be determined"
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(
        bench.names(),
        Vec::<String>::new(),
        "the label is a tag of its own, and stands"
    );
}

#[tokio::test]
async fn a_foreign_box_of_that_name_is_left_alone() {
    let bench = Bench::new().await;
    bench.fake.api().plant("box-1", &json!({}));
    bench.clock.sleep(Duration::from_secs(60)).await;
    let before = bench.names();
    assert_eq!(bench.refused().await.kind, ErrorKind::Taken);
    assert_eq!(bench.down("box-1").await.unwrap(), []);
    assert_eq!(bench.names(), before);
}

#[tokio::test]
async fn a_lane_that_needs_kvm_is_refused_before_any_call() {
    let bench = Bench::new().await;
    for need in [KvmNeed::Required, KvmNeed::Nested, KvmNeed::Metal] {
        let order = Order {
            need,
            ..bench.order("box-1")
        };
        let refusal = bench.make(&order).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::NoKvm);
        assert_eq!(Some(refusal), bench.cloud.refuse("cx43", need));
    }
    assert_eq!(bench.cloud.refuse("cpx51", KvmNeed::None), None);
    assert_eq!(bench.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn user_data_that_cannot_fit_is_refused_with_its_size() {
    let bench = Bench::new().await;
    let order = Order {
        user_data: "x".repeat(40_000),
        ..bench.order("box-1")
    };
    let refusal = bench.make(&order).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(
        refusal.cause.contains("40000") && refusal.cause.contains("32768"),
        "{refusal}"
    );
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn ssh_is_never_opened_to_everybody_by_default() {
    let bench = Bench::new().await;
    let order = Order {
        allow: Vec::new(),
        ..bench.order("box-1")
    };
    let refusal = bench.make(&order).await.unwrap_err();
    assert!(refusal.help.unwrap().contains("--allow-cidr"));
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_deadline_moves_in_all_tags() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    let deadline = Deadline::after(bench.clock.now(), Duration::from_secs(7200));
    bench
        .cloud
        .own_deadline()
        .unwrap()
        .move_deadline(&label("box-1"), deadline)
        .await
        .unwrap();
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    assert_eq!(listed.len(), 4);
    assert!(
        listed
            .iter()
            .all(|listed| listed.tags.as_ref().unwrap().deadline == deadline),
        "{listed:?}"
    );
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn doctor_reports_what_is_in_the_way() {
    let bench = Bench::new().await;
    let preflight = bench.cloud.preflight().unwrap();
    let good = preflight.preflight("cx43", "nbg1", KvmNeed::None).await;
    assert!(good.iter().all(|finding| finding.is_good), "{good:?}");
    assert!(
        good.iter()
            .any(|finding| finding.found.contains("0.0256 EUR an hour")),
        "{good:?}"
    );
    let sold_out = preflight.preflight("cx43", "fsn1", KvmNeed::None).await;
    let found = sold_out.iter().find(|finding| !finding.is_good).unwrap();
    assert_eq!(found.help.as_deref(), Some("it is available in nbg1, hel1"));
    let unknown = preflight.preflight("cx99", "nbg1", KvmNeed::Required).await;
    let bad: Vec<_> = unknown
        .iter()
        .filter(|finding| !finding.is_good)
        .map(|finding| finding.what.as_str())
        .collect();
    assert_eq!(bad, ["type", "kvm"]);
}

#[tokio::test]
async fn the_clouds_own_clock_is_reported() {
    let bench = Bench::new().await;
    let listing = bench.cloud.listing().unwrap();
    assert_eq!(listing.now(), None, "nothing was answered yet");
    listing.list().await.unwrap();
    assert_eq!(listing.now(), Some(bench.clock.now()));
}

#[tokio::test]
async fn labels_of_the_user_are_on_the_box_and_stay() {
    let bench = Bench::new().await;
    bench
        .keeps_the_users_tags(|hetzner| hetzner.server("box-1").unwrap()["labels"].clone())
        .await;
}

#[tokio::test]
async fn reported_prices_count_more_than_the_table() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.asked("cx43", "nbg1").await,
        Some((25_600, "EUR".to_owned()))
    );
    assert_eq!(bench.asked("cx43", "ash").await, None);
}
