//! Latitude.sh, through the engine's `Cloud`, against its fake.

use std::time::Duration;

use model::{
    error::ErrorKind,
    lane::KvmNeed,
    machine::ResourceKind,
    name::{Label, RunId},
    order::Order,
    tag_line,
    time::{Deadline, Timestamp, between},
    world::{Clock, Provider},
};
use providers::{
    contract::{self, Hooks, Reports},
    latitude::{Access, Latitude},
};
use serde_json::json;

use crate::{
    bench,
    fakes::{
        latitude::{Latitude as FakeLatitude, TOKEN},
        server::{Fault, Reply},
    },
    fuzz,
    orders::run,
};

type Bench = bench::Bench<Latitude, FakeLatitude>;

impl Bench {
    async fn new() -> Self {
        Self::with(TOKEN, None).await
    }

    async fn with(token: &str, project: Option<&str>) -> Self {
        let client = |url: &str| {
            Latitude::new(Access {
                token: token.to_owned(),
                project: project.map(str::to_owned),
                endpoint: Some(url.to_owned()),
                log: None,
                time_max: None,
            })
        };
        Self::serve(("latitude", "cheapest", "any"), FakeLatitude::new, client).await
    }

    async fn survives(call: &str, fault: Fault) -> Self {
        let all_are_there = |bench: &Self| {
            let names = bench.names();
            let count = |list: &str| names.iter().filter(|name| name.starts_with(list)).count();
            let counts = (count("servers"), count("user_data"), count("ssh_keys"));
            assert_eq!(counts, (1, 1, 1), "{names:?}");
        };
        let bench = Self::new().await;
        bench.survive((call, ""), fault, all_are_there).await
    }
}

impl Hooks for Bench {
    fn order(&self, label: &Label, run: &RunId) -> Order {
        self.order_for(label, run)
    }

    fn plant_foreign(&self, label: &Label) {
        self.fake.api().plant(label.as_str(), label.as_str());
    }

    fn has_foreign(&self, label: &Label) -> bool {
        let names = self.names();
        ["servers", "user_data", "ssh_keys"]
            .iter()
            .all(|list| names.contains(&format!("{list}/{label}")))
    }

    fn has_remains(&self, label: &Label) -> bool {
        let tags = Hooks::order(self, label, &run("r1")).tags;
        let names = self.names();
        let line = format!("/mvm-ephemeral_l{label}_");
        // The second word of a host name is of the label alone.
        let of_label: Vec<_> = hostname(&tags).split('-').take(3).map(str::to_owned).collect();
        let of_label = of_label.join("-");
        names
            .iter()
            .any(|name| name.contains(&line) || name.contains(&of_label))
    }
}

/// What the adapter's README says of host names, said once more.
fn hostname(tags: &model::tags::Tags) -> String {
    use sha2::{Digest, Sha256};
    let short = |text: &str| hex::encode(&Sha256::digest(text)[..4]);
    format!(
        "mvm-ephemeral-{}-{}",
        short(tags.label.as_str()),
        short(tags.run.as_str())
    )
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
async fn the_cheapest_in_stock_is_taken_by_the_hour() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    let machine = bench.make(&order).await.unwrap();
    assert_eq!(
        (machine.instance_type.as_str(), machine.region.as_str()),
        ("c2-small-x86", "NYC")
    );
    let asked = bench.fake.api().asked.clone();
    assert_eq!(
        (&asked["billing"], &asked["project"]),
        (&json!("hourly"), &json!("proj_ci"))
    );
    assert_eq!(asked["operating_system"], "ubuntu_24_04_x64_lts");
    assert_eq!(asked["hostname"], json!(hostname(&order.tags)));
    let line = tag_line::write(&order.tags);
    let names = bench.names();
    assert!(
        names.contains(&format!("user_data/{line}")) && names.contains(&format!("ssh_keys/{line}")),
        "{names:?}"
    );
    assert_eq!(bench.fake.count("PATCH"), 0, "nothing is tagged afterwards");
    let gone = bench.down("box-1").await.unwrap();
    let kinds: Vec<_> = gone.iter().map(|gone| gone.kind).collect();
    assert_eq!(
        kinds,
        [ResourceKind::Machine, ResourceKind::Key, ResourceKind::UserData]
    );
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn the_sites_are_tried_in_turn_and_then_the_next_plan() {
    let bench = Bench::new().await;
    for site in ["NYC", "DAL"] {
        let place = ("c2-small-x86".to_owned(), site.to_owned());
        bench.fake.api().behaviour.runs_out.insert(place);
    }
    let machine = bench.up("box-1").await.unwrap();
    assert_eq!(
        (machine.instance_type.as_str(), machine.region.as_str()),
        ("m4-metal-small", "CHI")
    );
    assert_eq!(bench.fake.count("POST /servers"), 3);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn nothing_is_made_for_what_is_not_in_stock() {
    let bench = Bench::new().await;
    let refusal = bench
        .make(&bench.order_of("c2-small-x86", "CHI"))
        .await
        .unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    assert!(
        refusal.cause.contains("c2-small-x86 is not in stock in CHI"),
        "{refusal}"
    );
    assert_eq!(refusal.help.as_deref(), Some("there is stock in DAL, NYC"));
    bench.fake.api().behaviour.stock.clear();
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    assert!(refusal.help.unwrap().contains("sold in CHI, DAL, NYC"));
    assert_eq!(bench.fake.count("POST"), 0);
}

#[tokio::test]
async fn a_new_deadline_is_a_new_description() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    bench.make(&order).await.unwrap();
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
    ] {
        let bench = Bench::survives("POST /servers", fault).await;
        assert_eq!(bench.fake.count("POST /servers"), 1);
    }
}

#[tokio::test]
async fn a_create_that_never_arrives_is_not_repeated_without_a_token() {
    let bench = Bench::new().await;
    bench.fake.fault("POST /servers", Fault::LoseCall);
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Unanswered);
    assert_eq!(bench.fake.count("POST /servers"), 1);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_that_arrives_twice_leaves_nothing() {
    let bench = Bench::new().await;
    bench.fake.fault("POST /servers", Fault::Twice);
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new(), "both went");
}

#[tokio::test]
async fn every_other_call_may_be_lost_or_garbage() {
    for call in [
        "GET /servers",
        "GET /user_data",
        "GET /ssh_keys",
        "GET /projects",
        "GET /plans",
        "POST /user_data",
        "POST /ssh_keys",
    ] {
        for fault in [Fault::LoseAnswer, Fault::LoseCall, Fault::Garbage] {
            Bench::survives(call, fault).await;
        }
    }
    for call in ["DELETE /servers", "DELETE /user_data", "DELETE /ssh_keys"] {
        for fault in [
            Fault::LoseAnswer,
            Fault::LoseCall,
            Fault::Refuse(Reply::text(502, "<html>")),
        ] {
            Bench::survives(call, fault).await;
        }
    }
}

#[tokio::test]
async fn on_is_not_believed_before_the_machine_was_installed() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.boasts = true;
    let began: Timestamp = bench.clock.now();
    bench.up("box-1").await.unwrap();
    assert!(between(began, bench.clock.now()) >= Duration::from_secs(90));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn a_delete_that_did_not_stick_is_asked_for_again() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.fails_later = true;
    bench.fake.api().behaviour.forgets_delete = true;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn delete_that_takes_twenty_minutes_is_waited_for() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.leave = Duration::from_secs(20 * 60);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn pages_past_the_end_that_repeat_rows_end_the_list() {
    let bench = Bench::new().await;
    let behaviour = |total, page| {
        let mut api = bench.fake.api();
        (api.behaviour.tells_totals, api.behaviour.page_max) = (total, page);
    };
    behaviour(false, 2);
    for name in ["box-1", "box-2", "box-3"] {
        bench.up(name).await.unwrap();
    }
    assert_eq!(bench.down_all().await.len(), 9);
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn foreign_server_without_name_or_plan_hides_nobody() {
    let bench = Bench::new().await;
    bench.fake.api().plant_odd();
    bench.up("box-1").await.unwrap();
    assert_eq!(bench.down("box-1").await.unwrap().len(), 3);
    assert_eq!(bench.names().len(), 3, "what is not ours stays");
}

#[tokio::test]
async fn a_server_that_somebody_locked_is_named_and_left() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.is_locked = true;
    let refusal = bench.down("box-1").await.unwrap_err();
    assert!(
        refusal.cause.contains("locked") && refusal.cause.contains("sv_"),
        "{refusal}"
    );
    assert_eq!(bench.fake.count("DELETE /servers"), 0, "it would be ignored");
    bench.fake.api().behaviour.is_locked = false;
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn an_answer_that_is_billed_by_the_year_is_undone_at_once() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.billing = Some("yearly");
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(
        refusal.cause.contains("billed yearly") && refusal.cause.contains("deleted at once"),
        "{refusal}"
    );
    let calls = bench.fake.calls();
    let created = calls.iter().position(|call| call == "POST /servers").unwrap();
    assert!(calls[created + 1].starts_with("DELETE /servers/"), "{calls:?}");
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn the_project_is_the_one_that_is_named_or_the_only_one() {
    const TWO: [(&str, &str, &str); 2] = [("proj_a", "alpha", "on_demand"), ("proj_b", "beta", "reserved")];
    for (named, expected) in [(Some("alpha"), "proj_a"), (Some("proj_a"), "proj_a")] {
        let bench = Bench::with(TOKEN, named).await;
        bench.fake.api().behaviour.projects = TWO.to_vec();
        bench.up("box-1").await.unwrap();
        assert_eq!(bench.fake.api().asked["project"], expected);
        bench.down("box-1").await.unwrap();
    }
    for (named, why) in [
        (None, "LATITUDESH_PROJECT is not set, and there are 2 projects"),
        (Some("gamma"), "there is no project gamma"),
        (Some("beta"), "billed by the year"),
    ] {
        let bench = Bench::with(TOKEN, named).await;
        bench.fake.api().behaviour.projects = TWO.to_vec();
        let refusal = bench.refused().await;
        assert_eq!(refusal.kind, ErrorKind::Invalid);
        assert!(refusal.cause.contains(why), "{refusal}");
        assert!(refusal.help.unwrap().contains("LATITUDESH_PROJECT"));
        assert_eq!(bench.fake.count("POST"), 0);
    }
}

#[tokio::test]
async fn the_teams_limit_is_a_quota() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.servers_max = 0;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::QuotaReached, "{refusal}");
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new(), "key and user-data went too");
}

#[tokio::test]
async fn too_many_requests_are_waited_out() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.limits = (8, 2);
    let reports = Reports::default();
    bench.cloud.up(&bench.order("box-1"), &reports).await.unwrap();
    assert!(
        reports
            .all()
            .iter()
            .any(|line| line.contains("RATE_LIMIT_EXCEEDED")),
        "{:?}",
        reports.all()
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_wrong_key_is_unauthorized_and_never_shown() {
    let bench = Bench::with("a-wrong-key-a-wrong-key", None).await;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    assert!(refusal.help.as_ref().unwrap().contains("LATITUDESH_AUTH_TOKEN"));
    assert!(
        !format!("{refusal} {refusal:?}").contains("wrong-key"),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_key_that_expires_in_the_middle_leaves_a_box_that_is_found_later() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.has_expired = true;
    let refusal = bench.down("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    bench.fake.api().behaviour.has_expired = false;
    assert_eq!(bench.down("box-1").await.unwrap().len(), 3);
}

#[tokio::test]
async fn all_pages_are_listed_however_short_they_are() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.page_max = 2;
    for name in ["box-1", "box-2", "box-3"] {
        bench.up(name).await.unwrap();
    }
    let gone = bench.down_all().await;
    assert_eq!(gone.len(), 9, "{gone:?}");
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_server_whose_user_data_is_gone_is_ours_and_not_decided_about() {
    let bench = Bench::new().await;
    let name = hostname(&bench.order("box-1").tags);
    bench.fake.api().plant(&name, "not ours");
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    assert!(listed.len() == 1 && listed[0].tags.is_none(), "{listed:?}");
    bench.down("box-1").await.unwrap();
    assert_eq!(
        bench.names().len(),
        2,
        "what is not ours stays: {:?}",
        bench.names()
    );
}

#[tokio::test]
async fn user_data_that_looks_like_a_template_is_refused_before_any_call() {
    let bench = Bench::new().await;
    let mut order = bench.order("box-1");
    order.user_data = "#cloud-config\nruncmd: ['echo {{ PASSWORD }}']\n".to_owned();
    let refusal = bench.make(&order).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert_eq!(bench.fake.count("POST"), 0);
    let nested = Order {
        need: KvmNeed::Nested,
        ..bench.order("box-1")
    };
    let before = bench.fake.calls().len();
    assert_eq!(bench.make(&nested).await.unwrap_err().kind, ErrorKind::NoKvm);
    assert_eq!(bench.fake.calls().len(), before);
}

#[tokio::test]
async fn doctor_says_what_could_be_had() {
    let bench = Bench::new().await;
    let preflight = bench.cloud.preflight().unwrap();
    let findings = preflight.preflight("cheapest", "any", KvmNeed::Required).await;
    assert!(findings.iter().all(|finding| finding.is_good), "{findings:?}");
    let found = |what: &str| {
        findings
            .iter()
            .find(|finding| finding.what == what)
            .unwrap()
            .found
            .clone()
    };
    assert!(found("credentials").contains("eve@example.com"));
    assert!(found("type").contains("c2-small-x86 is available in NYC"));
    assert!(found("price").contains("0.21 USD"));
    assert!(found("firewall").contains("nftables"));
    let findings = preflight.preflight("c9-huge", "any", KvmNeed::Nested).await;
    let bad: Vec<_> = findings.iter().filter(|finding| !finding.is_good).collect();
    assert_eq!(
        bad.iter()
            .map(|finding| finding.what.as_str())
            .collect::<Vec<_>>(),
        ["type", "kvm"]
    );
}

#[tokio::test]
async fn the_cheapest_costs_at_most_what_is_planned_with() {
    let bench = Bench::new().await;
    let prices = bench.cloud.prices().unwrap();
    assert_eq!(
        prices.hourly("cheapest", "any").unwrap().0.to_string(),
        "1.00 USD"
    );
    assert_eq!(
        prices.hourly("c2-small-x86", "NYC").unwrap().0.to_string(),
        "0.21 USD"
    );
    assert_eq!(prices.hourly("c2-small-x86", "SAO"), None);
}

#[tokio::test]
async fn reported_prices_count_more_than_the_table() {
    let bench = Bench::new().await;
    let hourly = bench.asked("c2-small-x86", "NYC").await.unwrap();
    assert_eq!(bench.asked("c2-small-x86", "any").await, Some(hourly));
    assert_eq!(bench.asked("c2-small-x86", "SAO").await, None);
    assert_eq!(
        bench.asked("cheapest", "any").await,
        None,
        "which plan it will be is not known"
    );
}
