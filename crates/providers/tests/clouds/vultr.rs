//! Vultr, through the engine's `Cloud`, against its fake.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{
    error::ErrorKind,
    lane::KvmNeed,
    machine::{Gone, ResourceKind},
    name::{Label, RunId},
    order::Order,
    time::{Deadline, between},
    world::{Clock, Provider},
};
use providers::{
    contract::{self, Hooks, Reports},
    vultr::{Access, Vultr},
};
use serde_json::json;

use crate::{
    bench,
    fakes::{
        server::{Fault, Reply},
        vultr::{KEY, Vultr as FakeVultr},
    },
    fuzz,
    orders::label,
};

const VM: &str = "vx1-g-4c-16g-240s";
const METAL: &str = "vbm-6c-32gb-amd";

type Bench = bench::Bench<Vultr, FakeVultr>;

impl Bench {
    async fn new() -> Self {
        Self::with(KEY, VM).await
    }

    async fn metal() -> Self {
        Self::with(KEY, METAL).await
    }

    async fn with(token: &str, plan: &'static str) -> Self {
        let client = |url: &str| {
            Vultr::new(Access {
                token: token.to_owned(),
                endpoint: Some(format!("{url}/v2")),
                log: None,
                time_max: None,
            })
        };
        let bench = Self::serve(("vultr", plan, "ewr"), FakeVultr::new, client);
        bench.await.with_kvm()
    }

    /// There is one box of that label, and there never were two.
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
        self.fake.api().plant(label.as_str(), &["team:other"]);
    }

    fn has_foreign(&self, label: &Label) -> bool {
        let names = self.names();
        ["instances", "bare-metals", "ssh-keys", "firewalls"]
            .iter()
            .all(|list| names.contains(&format!("{list}/{label}")))
    }

    fn has_remains(&self, label: &Label) -> bool {
        let word = format!("mvm-label:{label}");
        self.names();
        let tagged = self.fake.api().tagged();
        tagged
            .iter()
            .any(|text| text.split(' ').any(|found| found == word))
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
async fn bare_metal_keeps_the_contract() {
    let bench = Bench::metal().await;
    bench.fake.api().behaviour.is_as_described = true;
    contract::check_all(&bench.cloud, &bench).await;
}

#[tokio::test]
async fn nothing_is_left_but_what_was_there() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    assert_eq!(bench.names().len(), 3, "box, key, firewall: {:?}", bench.names());
    let gone = bench.down("box-1").await.unwrap();
    let kinds: Vec<_> = gone.iter().map(|gone| gone.kind).collect();
    let all = [ResourceKind::Machine, ResourceKind::Key, ResourceKind::Firewall];
    assert_eq!(kinds, all);
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn everything_is_tagged_by_the_call_that_makes_it() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    bench.make(&order).await.unwrap();
    for text in bench.fake.api().tagged() {
        for (key, value) in order.tags.pairs() {
            assert!(
                text.split(' ').any(|word| word == format!("{key}:{value}")),
                "{text}"
            );
        }
    }
    assert_eq!(bench.fake.count("PATCH") + bench.fake.count("PUT"), 0);
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn ssh_is_open_to_the_operator_alone() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    let mut rules = bench.fake.api().rules();
    rules.sort();
    assert_eq!(rules, ["icmp  203.0.113.7/32", "tcp 22 203.0.113.7/32"]);
    let asked = bench.fake.api().asked("box-1").unwrap();
    assert!(asked["firewall_group_id"].is_string(), "{asked}");
    assert_eq!(
        STANDARD.decode(asked["user_data"].as_str().unwrap()).unwrap(),
        b"#cloud-config\n"
    );
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn bare_metal_has_a_firewall_of_its_own() {
    let bench = Bench::metal().await;
    let machine = bench.up("box-1").await.unwrap();
    assert_eq!(machine.instance_type, METAL);
    let asked = bench.fake.api().asked("box-1").unwrap();
    let user_data = STANDARD.decode(asked["user_data"].as_str().unwrap()).unwrap();
    let user_data = String::from_utf8(user_data).unwrap();
    assert!(
        user_data.contains("ip saddr 203.0.113.7/32 tcp dport 22 accept"),
        "{user_data}"
    );
    assert!(user_data.starts_with("#cloud-config\nbootcmd:\n"), "{user_data}");
    assert!(asked["firewall_group_id"].is_null(), "{asked}");
    assert_eq!(bench.names().len(), 2, "box and key: {:?}", bench.names());
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn bare_metal_is_given_time_and_a_virtual_machine_is_not() {
    let bench = Bench::metal().await;
    bench.fake.api().behaviour.boot_metal = Duration::from_secs(1700);
    let began = bench.clock.now();
    bench.up("box-1").await.unwrap();
    assert!(between(began, bench.clock.now()) >= Duration::from_secs(1700));
    let bench = Bench::new().await;
    bench.fake.api().behaviour.boot = Duration::from_secs(100_000);
    let refusal = bench.refused().await;
    assert!(refusal.cause.contains("pending after 10 minutes"), "{refusal}");
    bench.fake.api().behaviour.boot = Duration::from_secs(60);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_found_and_never_sent_again() {
    for fault in [
        Fault::LoseAnswer,
        Fault::Garbage,
        Fault::Belie(Reply::text(504, "gateway timeout")),
        Fault::Belie(Reply::text(
            500,
            r#"{"error":"Internal server error.","status":500}"#,
        )),
    ] {
        let bench = Bench::survives("POST /v2/instances", fault).await;
        assert_eq!(bench.fake.count("POST /v2/instances"), 1);
    }
}

#[tokio::test]
async fn a_create_that_never_arrives_is_looked_for_and_not_repeated() {
    let bench = Bench::new().await;
    bench.fake.fault("POST /v2/instances", Fault::LoseCall);
    assert_eq!(bench.refused().await.kind, ErrorKind::Unanswered);
    assert_eq!(bench.fake.count("POST /v2/instances"), 1);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_that_arrives_twice_leaves_nothing() {
    let bench = Bench::new().await;
    bench.fake.fault("POST /v2/instances", Fault::Twice);
    bench.up("box-1").await.unwrap();
    assert_eq!(bench.fake.api().most_of_a_name["box-1"], 2);
    let gone = bench.down("box-1").await.unwrap();
    assert_eq!(gone.len(), 4, "{gone:?}");
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn every_other_call_may_be_lost_late_or_garbage() {
    for call in [
        "GET /v2/instances",
        "GET /v2/bare-metals",
        "GET /v2/os",
        "GET /v2/ssh-keys",
        "POST /v2/ssh-keys",
        "POST /v2/firewalls",
        "DELETE /v2/instances",
        "DELETE /v2/ssh-keys",
        "DELETE /v2/firewalls",
    ] {
        for fault in [
            Fault::LoseAnswer,
            Fault::LoseCall,
            Fault::Refuse(Reply::text(502, "<html>bad gateway")),
        ] {
            Bench::survives(call, fault).await;
        }
    }
    for call in ["GET /v2/instances", "POST /v2/ssh-keys", "GET /v2/firewalls"] {
        Bench::survives(call, Fault::Garbage).await;
    }
}

#[tokio::test]
async fn half_a_firewall_is_completed() {
    let bench = Bench::new().await;
    bench
        .fake
        .fault_in_body("POST /v2/firewalls/", "icmp", Fault::Refuse(Reply::text(503, "")));
    bench.up("box-1").await.unwrap();
    let rules = bench.fake.api().rules();
    assert!(rules.contains(&"tcp 22 203.0.113.7/32".to_owned()), "{rules:?}");
    assert!(rules.contains(&"icmp  203.0.113.7/32".to_owned()), "{rules:?}");
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_box_that_is_locked_while_it_installs_is_destroyed_all_the_same() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.boot = Duration::from_secs(1300);
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    bench.down("box-1").await.unwrap();
    assert!(bench.fake.count("DELETE /v2/instances") > 1);
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_sold_out_is_no_capacity_and_says_where_it_is_sold() {
    let bench = Bench::new().await;
    bench
        .fake
        .api()
        .behaviour
        .sold_out
        .insert((VM.to_owned(), "ewr".to_owned()));
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    assert!(refusal.help.unwrap().contains("ewr, ams, sao"));
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new(), "key and firewall went too");
}

#[tokio::test]
async fn the_accounts_limit_is_a_quota() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.servers_max = 0;
    assert_eq!(bench.refused().await.kind, ErrorKind::QuotaReached);
}

#[tokio::test]
async fn a_wrong_key_is_unauthorized_explained_and_never_shown() {
    let bench = Bench::with("a-wrong-key-a-wrong-key", VM).await;
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    let help = refusal.help.as_ref().unwrap();
    assert!(
        help.contains("VULTR_API_KEY") && help.contains("access control list"),
        "{help}"
    );
    assert!(
        !format!("{refusal} {refusal:?}").contains("a-wrong-key"),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_key_that_expires_on_the_way_leaves_a_box_that_is_found_again() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.expires_at_call = Some(11);
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Unauthorized, "{refusal}");
    let refusal = bench.down("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    bench.fake.api().behaviour.expires_at_call = None;
    let gone = bench.down("box-1").await.unwrap();
    let is_box = |gone: &Gone| gone.kind == ResourceKind::Machine;
    assert!(gone.iter().any(is_box), "{gone:?} {:?}", bench.fake.calls());
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn too_many_requests_are_waited_out() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.requests_a_second = 8;
    let reports = Reports::default();
    bench.cloud.up(&bench.order("box-1"), &reports).await.unwrap();
    bench.assert_one();
    let is_reported = |line: &String| line.contains("Rate limit reached");
    assert!(reports.all().iter().any(is_reported), "{:?}", reports.all());
    bench.fake.api().behaviour.requests_a_second = 30;
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn all_pages_are_listed() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.page_max = 2;
    for name in ["box-1", "box-2", "box-3", "box-4", "box-5"] {
        bench.up(name).await.unwrap();
    }
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    assert_eq!(listed.len(), 15);
    let gone = bench.down_all().await;
    assert_eq!(gone.len(), 15, "{gone:?}");
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_foreign_box_of_that_label_is_left_alone() {
    let bench = Bench::new().await;
    bench.fake.api().plant("box-1", &[]);
    bench.clock.sleep(Duration::from_secs(60)).await;
    let before = bench.names();
    assert_eq!(bench.down("box-1").await.unwrap(), []);
    assert_eq!(bench.names(), before);
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), before);
}

#[tokio::test]
async fn damaged_tags_are_listed_and_not_decided_about() {
    let bench = Bench::new().await;
    let tags = [
        "mvm-ephemeral:true",
        "mvm-label:box-1",
        "mvm-run:r1",
        "mvm-deadline:tomorrow",
    ];
    bench.fake.api().plant("box-1", &tags);
    bench.clock.sleep(Duration::from_secs(60)).await;
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    assert_eq!(listed.len(), 2, "the virtual one and the metal one: {listed:?}");
    assert!(listed.iter().all(|listed| listed.tags.is_none()), "{listed:?}");
    let refusal = bench.refused().await;
    assert_eq!(
        refusal.kind,
        ErrorKind::Taken,
        "whose box that is cannot be determined"
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), ["firewalls/box-1", "ssh-keys/box-1"]);
}

#[tokio::test]
async fn a_plan_that_is_no_promise_is_refused_before_any_call() {
    let bench = Bench::with(KEY, "voc-c-4c-8gb-150s-amd").await;
    for need in [KvmNeed::Required, KvmNeed::Nested, KvmNeed::Metal] {
        let order = Order {
            need,
            ..bench.order("box-1")
        };
        let refusal = bench.make(&order).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::NoKvm);
        let wanted = if need == KvmNeed::Metal { METAL } else { VM };
        assert!(refusal.help.unwrap().contains(wanted));
    }
    assert!(bench.cloud.refuse(bench.place.1, KvmNeed::None).is_none());
    assert!(bench.cloud.refuse(VM, KvmNeed::Metal).is_some());
    assert!(bench.cloud.refuse(METAL, KvmNeed::Metal).is_none());
    assert_eq!(bench.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn ssh_is_never_opened_to_everybody_by_default() {
    let bench = Bench::new().await;
    for allow in [vec![], vec!["2001:db8::/48".to_owned()]] {
        let order = Order {
            allow,
            ..bench.order("box-1")
        };
        let refusal = bench.make(&order).await.unwrap_err();
        assert!(refusal.help.unwrap().contains("--allow-cidr"));
    }
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn an_operating_system_goes_by_its_name_or_its_id() {
    let bench = Bench::new().await;
    for (image, id) in [("Debian 12 x64 (bookworm)", 2136), ("2465", 2465)] {
        let mut order = bench.order("box-1");
        order.candidate.image = Some(image.to_owned());
        bench.make(&order).await.unwrap();
        assert_eq!(bench.fake.api().asked("box-1").unwrap()["os_id"], json!(id));
        bench.down("box-1").await.unwrap();
    }
    let mut order = bench.order("box-1");
    order.candidate.image = Some("Ubuntu 24".to_owned());
    let refusal = bench.make(&order).await.unwrap_err();
    assert!(refusal.help.unwrap().contains("Ubuntu 24.04 LTS x64"));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn a_deadline_moves_in_all_tags() {
    for bench in [Bench::new().await, Bench::metal().await] {
        bench.up("box-1").await.unwrap();
        let deadline = Deadline::after(bench.clock.now(), Duration::from_secs(7200));
        let own = bench.cloud.own_deadline().unwrap();
        own.move_deadline(&label("box-1"), deadline).await.unwrap();
        let listed = bench.cloud.listing().unwrap().list().await.unwrap();
        let is_moved = |tags: &Option<model::tags::Tags>| tags.as_ref().unwrap().deadline == deadline;
        assert!(
            listed.len() >= 2 && listed.iter().all(|listed| is_moved(&listed.tags)),
            "{listed:?}"
        );
        bench.down("box-1").await.unwrap();
    }
}

#[tokio::test]
async fn doctor_reports_what_is_in_the_way() {
    let bench = Bench::new().await;
    let preflight = bench.cloud.preflight().unwrap();
    let good = preflight.preflight(VM, "ewr", KvmNeed::Required).await;
    assert!(good.iter().all(|finding| finding.is_good), "{good:?}");
    let has = |findings: &[model::world::Finding], text: &str| {
        findings.iter().any(|finding| finding.found.contains(text))
    };
    assert!(has(&good, "0.153 USD an hour"), "{good:?}");
    let dearer = preflight.preflight(VM, "sao", KvmNeed::Required).await;
    assert!(has(&dearer, "0.2295 USD an hour"), "{dearer:?}");
    let metal = preflight.preflight(METAL, "fra", KvmNeed::Metal).await;
    assert!(metal.iter().all(|finding| finding.is_good), "{metal:?}");
    assert!(has(&metal, "nftables"), "{metal:?}");
    let elsewhere = preflight.preflight(VM, "fra", KvmNeed::Required).await;
    let found = elsewhere.iter().find(|finding| !finding.is_good).unwrap();
    let places = "vx1-g-4c-16g-240s is available in ewr, ams, sao";
    assert_eq!(found.help.as_deref(), Some(places));
    let nowhere = preflight.preflight("vbm-4c-32gb", "ewr", KvmNeed::Metal).await;
    let found = nowhere.iter().find(|finding| !finding.is_good).unwrap();
    assert!(
        found.help.as_ref().unwrap().contains("sold out everywhere"),
        "{found:?}"
    );
    let unknown = preflight.preflight("vc9", "ewr", KvmNeed::Required).await;
    let bad: Vec<_> = unknown
        .iter()
        .filter(|finding| !finding.is_good)
        .map(|finding| finding.what.as_str())
        .collect();
    assert_eq!(bad, ["type", "kvm"]);
    let no_region = preflight.preflight(VM, "moon", KvmNeed::Required).await;
    assert!(has(&no_region, "Invalid region"), "{no_region:?}");
}

#[tokio::test]
async fn doctor_names_a_key_that_is_not_accepted() {
    let bench = Bench::with("a-wrong-key-a-wrong-key", VM).await;
    let preflight = bench.cloud.preflight().unwrap();
    let findings = preflight.preflight(VM, "ewr", KvmNeed::Required).await;
    assert_eq!(findings[0].what, "credentials");
    assert!(!findings[0].is_good && findings[0].help.as_ref().unwrap().contains("VULTR_API_KEY"));
}

#[tokio::test]
async fn the_clouds_own_clock_is_reported() {
    let bench = Bench::new().await;
    let listing = bench.cloud.listing().unwrap();
    listing.list().await.unwrap();
    assert_eq!(listing.now(), Some(bench.clock.now()));
}

#[tokio::test]
async fn foreign_row_that_makes_no_sense_hides_nobody() {
    let add = |page: &mut serde_json::Value| {
        let fields = page
            .as_object_mut()
            .into_iter()
            .flat_map(|page| page.values_mut());
        for list in fields.filter_map(serde_json::Value::as_array_mut) {
            list.push(json!({"id": null, "label": null, "status": null, "plan": null, "tags": null}));
        }
    };
    Bench::new().await.lists_all_beside_a_row(add).await;
}

#[tokio::test]
async fn reported_prices_count_more_than_the_table() {
    let bench = Bench::new().await;
    let usd = |micros: i64| Some((micros, "USD".to_owned()));
    assert_eq!(bench.asked("vx1-g-4c-16g-240s", "ewr").await, usd(153_000));
    assert_eq!(bench.asked("vx1-g-4c-16g-240s", "sao").await, usd(229_500));
    assert_eq!(bench.asked("vbm-6c-32gb-amd", "fra").await, usd(410_000));
    assert_eq!(bench.asked("vx9", "ewr").await, None);
}
