//! Azure, through the engine's `Cloud`, against its fake.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use model::{
    error::{ErrorKind, ProviderError},
    lane::KvmNeed,
    machine::{Health, ResourceKind},
    name::{Label, RunId},
    order::Order,
    time::{Deadline, after, between},
    world::{Clock, Finding, Provider},
};
use providers::{
    azure::{Access, Azure},
    contract::{self, Hooks},
    http::Bearer,
};
use serde_json::{Value, json};

use crate::{
    bench,
    fakes::{
        azure::{Azure as FakeAzure, CONSOLE, SUBSCRIPTION, TOKEN},
        server::{Fault, Reply},
    },
    fuzz,
    orders::label,
    permissions,
};

const SIZE: &str = "Standard_D4s_v5";

type Bench = bench::Bench<Azure, FakeAzure>;

impl Bench {
    async fn new() -> Self {
        Self::with(TOKEN, SUBSCRIPTION).await
    }

    async fn with(token: &str, subscription: &str) -> Self {
        let client = |url: &str| {
            Azure::new(Access {
                subscription: subscription.to_owned(),
                authorize: Arc::new(Bearer::new(token)),
                endpoint: Some(url.to_owned()),
                prices: Some(url.to_owned()),
                log: None,
                time_max: None,
            })
        };
        let bench = Self::serve(("azure", SIZE, "eastus"), FakeAzure::new, client);
        bench.await.with_kvm()
    }

    /// How often a box was asked for.
    fn creates(&self) -> usize {
        self.fake.count_in_body("PUT ", "hardwareProfile")
    }

    /// There is one box of that label, and there never were two.
    #[track_caller]
    fn assert_one(&self) {
        let most = self.fake.api().most_of_a_name.get("box-1").copied();
        assert_eq!(most, Some(1), "{:?}", self.fake.calls());
    }

    async fn survives(method: &str, body: &str, fault: Fault) -> Self {
        let bench = Self::new().await;
        bench.survive((method, body), fault, Self::assert_one).await
    }

    /// Orders a box that is not to be had, and returns what that means. Nothing is left of it.
    async fn refused_and_gone(&self) -> ProviderError {
        let refusal = self.refused().await;
        self.clock.sleep(Duration::from_secs(10)).await;
        self.down("box-1").await.unwrap();
        assert_eq!(self.names(), Vec::<String>::new());
        refusal
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
        let machine = format!("{label}/providers/microsoft.compute/virtualmachines/{label}");
        names.contains(&label.to_string()) && names.contains(&machine)
    }

    fn has_remains(&self, label: &Label) -> bool {
        self.fake.api().labels().contains(label.as_str())
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
async fn everything_is_in_one_group_and_goes_with_it() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    assert_eq!(
        bench.names().len(),
        7,
        "group, firewall, address, network, interface, box, schedule: {:?}",
        bench.names()
    );
    let gone = bench.down("box-1").await.unwrap();
    let kinds: Vec<_> = gone.iter().map(|gone| gone.kind).collect();
    let all = [ResourceKind::Machine, ResourceKind::Group, ResourceKind::Schedule];
    assert_eq!(kinds, all);
    let first = bench
        .fake
        .calls()
        .into_iter()
        .find(|call| call.starts_with("DELETE"));
    let path = first.unwrap().to_lowercase();
    assert!(
        path.contains("/resourcegroups/twolane-box-1-") && !path.contains("virtualmachines"),
        "the first request takes all: {path}"
    );
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_group_that_takes_a_quarter_of_an_hour_to_go_is_waited_for() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.group_outlives = Duration::from_secs(14 * 60);
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn everything_is_tagged_by_the_call_that_makes_it() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    bench.make(&order).await.unwrap();
    let made = bench.fake.api().made_with.clone();
    assert_eq!(made.len(), 7, "{made:?}");
    assert!(
        made.iter().all(|tags| *tags == json!(order.tags.pairs())),
        "{made:?}"
    );
    assert_eq!(bench.fake.count("PATCH"), 0, "nothing is tagged afterwards");
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn ssh_is_open_to_the_operator_alone() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    let group = bench.fake.api().only("networkSecurityGroups");
    let rules = group["properties"]["securityRules"].as_array().unwrap();
    assert_eq!(rules.len(), 1, "{rules:?}");
    let rule = &rules[0]["properties"];
    assert_eq!(
        (&rule["sourceAddressPrefix"], &rule["destinationPortRange"]),
        (&json!("203.0.113.7/32"), &json!("22"))
    );
    let interface = bench.fake.api().only("networkInterfaces");
    assert!(interface["properties"]["networkSecurityGroup"]["id"].is_string());
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn a_box_asks_for_what_nested_kvm_needs() {
    let bench = Bench::new().await;
    let mut order = bench.order("box-1");
    order.candidate.image = Some("Debian:debian-12:12-gen2:latest".to_owned());
    order.candidate.disk_gb = Some(100);
    bench.make(&order).await.unwrap();
    let machine = bench.fake.api().only("virtualMachines");
    let properties = &machine["properties"];
    assert_eq!(properties["securityProfile"], json!({"securityType": "Standard"}));
    let storage = &properties["storageProfile"];
    assert_eq!(storage["imageReference"]["offer"], "debian-12");
    assert_eq!(
        (
            &storage["osDisk"]["diskSizeGB"],
            &storage["osDisk"]["deleteOption"]
        ),
        (&json!(100), &json!("Delete"))
    );
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn user_data_is_sent_in_base64() {
    let bench = Bench::new().await;
    let data = STANDARD.encode(bench.order("box-1").user_data);
    let refusal = Reply::json(
        409,
        &json!({"error": {"code": "SkuNotAvailable", "message": "m"}}),
    );
    let body = format!("\"customData\":\"{data}\"");
    bench.fake.fault_in_body("PUT", &body, Fault::Refuse(refusal));
    assert_eq!(bench.refused_and_gone().await.kind, ErrorKind::NoCapacity);
}

#[tokio::test]
async fn a_box_runs_before_its_agent_says_so() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.agent = Duration::from_secs(100_000);
    let began = bench.clock.now();
    let machine = bench.up("box-1").await.unwrap();
    // What is made beside the box is ready after some seconds, and the box half a minute later.
    let took = between(began, bench.clock.now());
    assert!(took < Duration::from_secs(45), "{took:?}");
    assert!(machine.address.to_string().starts_with("192.0.2."));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_found() {
    for fault in [
        Fault::LoseAnswer,
        Fault::Garbage,
        Fault::Twice,
        Fault::Belie(Reply::text(504, "<html>gateway timeout")),
    ] {
        let bench = Bench::survives("PUT", "hardwareProfile", fault).await;
        assert_eq!(bench.creates(), 1, "{:?}", bench.fake.calls());
    }
}

#[tokio::test]
async fn a_create_that_never_arrives_is_looked_for_and_then_repeated() {
    let bench = Bench::survives("PUT", "hardwareProfile", Fault::LoseCall).await;
    assert_eq!(bench.creates(), 2);
}

#[tokio::test]
async fn every_other_call_may_be_lost_late_or_garbage() {
    for (method, body) in [
        ("GET", ""),
        ("PUT", "securityRules"),
        ("PUT", "publicIPAllocationMethod"),
        ("PUT", "addressSpace"),
        ("PUT", "ipConfigurations"),
        ("DELETE", ""),
    ] {
        for fault in [
            Fault::LoseAnswer,
            Fault::LoseCall,
            Fault::Refuse(Reply::text(502, "<html>bad gateway")),
            Fault::Refuse(Reply::json(
                409,
                &json!({"error": {"code": "AnotherOperationInProgress", "message": "m"}}),
            )),
        ] {
            Bench::survives(method, body, fault).await;
        }
    }
    for body in ["securityRules", "addressSpace", "ipConfigurations"] {
        Bench::survives("PUT", body, Fault::Garbage).await;
    }
}

#[tokio::test]
async fn what_is_sold_out_is_no_capacity() {
    let bench = Bench::new().await;
    let place = (SIZE.to_owned(), "eastus".to_owned());
    bench.fake.api().behaviour.sold_out.insert(place);
    let refusal = bench.refused_and_gone().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    assert!(refusal.cause.contains("SkuNotAvailable"), "{refusal}");
}

#[tokio::test]
async fn a_create_that_fails_after_its_answer_says_why() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.fails_later = Some("AllocationFailed");
    let refusal = bench.refused_and_gone().await;
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    assert!(
        refusal.cause.contains("sufficient capacity") && refusal.cause.contains("AllocationFailed"),
        "it is asked of the operation: {refusal}"
    );
}

#[tokio::test]
async fn a_box_without_nested_virtualisation_is_no_kvm() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.security_type = Some("TrustedLaunch");
    let refusal = bench.refused_and_gone().await;
    assert_eq!(refusal.kind, ErrorKind::NoKvm);
    assert!(refusal.cause.contains("TrustedLaunch"), "{refusal}");
}

#[tokio::test]
async fn the_subscriptions_quota_is_a_quota() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.machines_max = 0;
    let refusal = bench.refused_and_gone().await;
    assert_eq!(refusal.kind, ErrorKind::QuotaReached);
    assert!(refusal.help.unwrap().contains("Usage + quotas"));
}

#[tokio::test]
async fn too_many_requests_are_waited_out_as_long_as_is_said() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.throttled = 3;
    let began = bench.clock.now();
    bench.up("box-1").await.unwrap();
    bench.assert_one();
    assert!(between(began, bench.clock.now()) >= Duration::from_secs(17));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn a_wrong_token_is_unauthorized_and_never_shown() {
    let bench = Bench::with("a-wrong-token-a-wrong-token", SUBSCRIPTION).await;
    let refusal = bench.up("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    let help = refusal.help.as_ref().unwrap();
    assert!(
        help.contains("az login") && help.contains("AZURE_CLIENT_SECRET"),
        "{help}"
    );
    assert!(
        !format!("{refusal} {refusal:?}").contains("a-wrong-token"),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_subscription_that_does_not_exist_is_named_and_nothing_counts_as_gone() {
    let bench = Bench::with(TOKEN, "another").await;
    let refusal = bench.up("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    assert!(refusal.help.unwrap().contains("AZURE_SUBSCRIPTION_ID"));
    assert_eq!(
        bench.down("box-1").await.unwrap_err().kind,
        ErrorKind::Unauthorized
    );
}

#[tokio::test]
async fn an_identity_that_may_only_read_is_reported_its_role() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.is_readonly = true;
    let refusal = bench.up("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    assert!(refusal.help.unwrap().contains("Contributor"));
}

#[tokio::test]
async fn a_token_that_expires_on_the_way_leaves_a_box_that_is_found_again() {
    let bench = Bench::new().await;
    bench
        .fake
        .fault_in_body("PUT", "hardwareProfile", Fault::LoseAnswer);
    bench.up("box-1").await.unwrap();
    let calls = u32::try_from(bench.fake.calls().len()).unwrap();
    bench.fake.api().behaviour.expires_at_call = Some(calls + 1);
    let refusal = bench.down("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    bench.fake.api().behaviour.expires_at_call = None;
    let gone = bench.down("box-1").await.unwrap();
    assert!(gone.iter().any(|gone| gone.kind == ResourceKind::Machine));
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_locked_group_is_named_with_what_to_do() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.is_locked = true;
    let refusal = bench.down("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(refusal.cause.contains("locked"), "{refusal}");
    bench.fake.api().behaviour.is_locked = false;
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn all_pages_are_listed_and_none_elsewhere() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.page_max = 2;
    for name in ["box-1", "box-2", "box-3", "box-4", "box-5"] {
        bench.up(name).await.unwrap();
    }
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    assert_eq!(listed.len(), 15);
    bench.fake.api().behaviour.next_page_at = Some("http://192.0.2.99:9");
    let refusal = bench.cloud.listing().unwrap().list().await.unwrap_err();
    assert!(refusal.cause.contains("elsewhere"), "{refusal}");
    bench.fake.api().behaviour.next_page_at = None;
    let gone = bench.down_all().await;
    assert_eq!(gone.len(), 15, "{gone:?}");
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_box_of_ours_in_a_group_of_somebody_else_goes_without_that_group() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    bench.fake.api().plant("box-1", &json!(order.tags.pairs()));
    bench.clock.sleep(Duration::from_secs(60)).await;
    // The group carries our tag, and its name is not one that we give.
    let machine = {
        let listed = bench.cloud.listing().unwrap().list().await.unwrap();
        listed
            .into_iter()
            .find(|listed| listed.kind == ResourceKind::Machine)
    };
    assert_eq!(machine.unwrap().id, "box-1/box-1");
    bench.fake.api().plant("box-2", &json!({"team": "other"}));
    assert_eq!(bench.down("box-2").await.unwrap(), []);
    bench.down("box-1").await.unwrap();
    let is_machine = |call: &String| call.starts_with("DELETE") && call.contains("virtualMachines");
    assert!(bench.fake.calls().iter().any(is_machine));
    assert_eq!(
        bench.names(),
        [
            "box-1",
            "box-2",
            "box-2/providers/microsoft.compute/virtualmachines/box-2"
        ]
    );
}

#[tokio::test]
async fn a_size_without_nested_virtualisation_is_refused_before_any_call() {
    let bench = Bench::new().await;
    for (size, need) in [
        ("Standard_B4ms", KvmNeed::Required),
        ("Standard_D4ps_v5", KvmNeed::Nested),
        (SIZE, KvmNeed::Metal),
    ] {
        let mut order = bench.order("box-1");
        order.candidate.instance_type = size.to_owned();
        let order = Order { need, ..order };
        let refusal = bench.make(&order).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::NoKvm);
        assert!(refusal.help.is_some());
    }
    assert_eq!(bench.cloud.refuse("Standard_B4ms", KvmNeed::None), None);
    assert_eq!(bench.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_anything_is_made() {
    let bench = Bench::new().await;
    let order = Order {
        user_data: "x".repeat(70_000),
        ..bench.order("box-1")
    };
    let refusal = bench.make(&order).await.unwrap_err();
    assert!(
        refusal.cause.contains("70000") && refusal.cause.contains("65535"),
        "{refusal}"
    );
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
async fn a_deadline_moves_in_all_tags() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    let deadline = Deadline::after(bench.clock.now(), Duration::from_secs(7200));
    let own = bench.cloud.own_deadline().unwrap();
    own.move_deadline(&label("box-1"), deadline).await.unwrap();
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    let is_moved = |tags: &Option<model::tags::Tags>| tags.as_ref().unwrap().deadline == deadline;
    assert_eq!(listed.len(), 3);
    assert!(listed.iter().all(|listed| is_moved(&listed.tags)), "{listed:?}");
    let schedule = bench.fake.api().only("schedules");
    let at = after(deadline.moment(), Duration::from_secs(59))
        .strftime("%H%M")
        .to_string();
    assert_eq!(schedule["properties"]["dailyRecurrence"]["time"], at);
    // A schedule knows no day: one that is further away would come a day early.
    let deadline = Deadline::after(bench.clock.now(), Duration::from_secs(30 * 3600));
    own.move_deadline(&label("box-1"), deadline).await.unwrap();
    bench.clock.sleep(Duration::from_secs(30)).await;
    assert!(!bench.names().iter().any(|name| name.contains("schedules")));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn azure_deallocates_a_box_whose_operator_is_lost() {
    for (ttl, held) in [(3600, 3600 + 120), (600, 35 * 60), (30 * 3600, 0)] {
        let bench = Bench::new().await;
        let mut order = bench.order("box-1");
        order.tags.deadline = Deadline::after(bench.clock.now(), Duration::from_secs(ttl));
        bench.make(&order).await.unwrap();
        assert_eq!(bench.fake.api().power(), "PowerState/running");
        bench
            .clock
            .sleep(Duration::from_secs(ttl.min(held) - ttl.min(held) / 10))
            .await;
        assert_eq!(bench.fake.api().power(), "PowerState/running");
        bench.clock.sleep(Duration::from_secs(held)).await;
        let is_held = bench.fake.api().power() == "PowerState/deallocated";
        assert_eq!(is_held, held > 0, "{ttl} s");
        bench.down("box-1").await.unwrap();
        assert_eq!(bench.names(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn no_box_is_up_without_its_schedule() {
    // The call that makes the box and the first that sets its schedule may both get lost.
    let bench = Bench::new().await;
    bench
        .fake
        .fault_in_body("PUT", "hardwareProfile", Fault::LoseAnswer);
    let bench = bench.survive(("PUT", "ComputeVmShutdownTask"), Fault::LoseCall, |bench| {
        assert!(bench.names().iter().any(|name| name.contains("schedules")));
    });
    drop(bench.await);
    let bench = Bench::new().await;
    bench.fake.api().behaviour.has_no_schedules = true;
    let refusal = bench.refused_and_gone().await;
    assert!(refusal.help.unwrap().contains("Microsoft.DevTestLab"));
}

#[tokio::test]
async fn a_group_that_was_just_made_is_waited_for() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.unseen = Duration::from_secs(20);
    bench.up("box-1").await.unwrap();
    bench.assert_one();
    bench.down("box-1").await.unwrap();
    let bench = Bench::new().await;
    bench.fake.api().behaviour.unseen = Duration::from_secs(100_000);
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NotYet);
    assert!(refusal.cause.contains("ResourceGroupNotFound"), "{refusal}");
}

#[tokio::test]
async fn a_policy_is_no_missing_login() {
    for code in ["RequestDisallowedByPolicy", "RequestDisallowedByAzure"] {
        let bench = Bench::new().await;
        bench.fake.api().behaviour.policy = Some(code);
        let refusal = bench.refused_and_gone().await;
        assert_eq!(refusal.kind, ErrorKind::Invalid);
        let help = refusal.help.unwrap();
        assert!(help.contains("policy") && !help.contains("az login"), "{help}");
    }
}

#[tokio::test]
async fn the_console_is_read_without_the_token() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    let console = bench.cloud.console().unwrap();
    assert_eq!(
        console.console(&label("box-1")).await.unwrap(),
        CONSOLE.as_bytes()
    );
    assert!(!bench.fake.api().has_leaked);
    let refusal = console.console(&label("box-2")).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NotFound);
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn doctor_reports_what_is_in_the_way() {
    let bench = Bench::new().await;
    let preflight = bench.cloud.preflight().unwrap();
    let bad = |findings: &[Finding]| -> Vec<String> {
        let bad = findings.iter().filter(|finding| !finding.is_good);
        bad.map(|finding| format!("{}: {}", finding.what, finding.help.clone().unwrap_or_default()))
            .collect()
    };
    let unregistered = "subscription: run `az provider register --namespace Microsoft.Network`";
    let quota = "quota: ask for more in the Azure portal (Usage + quotas), or use another size or region";
    let good = preflight.preflight(SIZE, "eastus", KvmNeed::Required).await;
    assert_eq!(bad(&good), [unregistered], "{good:?}");
    let big = preflight
        .preflight("Standard_D64s_v5", "eastus", KvmNeed::Required)
        .await;
    assert_eq!(bad(&big), [unregistered, quota], "{big:?}");
    let elsewhere = preflight.preflight(SIZE, "westeurope", KvmNeed::Required).await;
    let sold = "type: with nested KVM it has Standard_D4as_v5";
    assert_eq!(bad(&elsewhere), [unregistered, sold], "{elsewhere:?}");
    let place = (SIZE.to_owned(), "eastus".to_owned());
    bench.fake.api().behaviour.sold_out.insert(place);
    let restricted = preflight.preflight(SIZE, "eastus", KvmNeed::Metal).await;
    assert!(
        restricted
            .iter()
            .any(|finding| finding.found.contains("NotAvailableForSubscription")),
        "{restricted:?}"
    );
    assert!(
        bad(&restricted).iter().any(|bad| bad.starts_with("kvm")),
        "{restricted:?}"
    );
    let bench = Bench::with("a-wrong-token-a-wrong-token", SUBSCRIPTION).await;
    let findings = bench
        .cloud
        .preflight()
        .unwrap()
        .preflight(SIZE, "eastus", KvmNeed::Required)
        .await;
    assert!(
        bad(&findings)[0].starts_with("credentials: run `az login`"),
        "{findings:?}"
    );
}

#[tokio::test]
async fn the_clouds_own_clock_is_reported() {
    let bench = Bench::new().await;
    let listing = bench.cloud.listing().unwrap();
    listing.list().await.unwrap();
    assert_eq!(listing.now(), Some(bench.clock.now()));
}

#[tokio::test]
async fn list_without_an_end_is_given_up() {
    let set = |fake: &mut FakeAzure, is_endless| fake.behaviour.is_endless = is_endless;
    Bench::new().await.gives_up_a_list_without_an_end(set).await;
}

#[tokio::test]
async fn foreign_row_that_makes_no_sense_hides_nobody() {
    let add = |page: &mut Value| {
        if let Some(rows) = page["value"].as_array_mut() {
            rows.push(json!({"id": null, "name": null, "zone": null}));
        }
    };
    Bench::new().await.lists_all_beside_a_row(add).await;
}

#[tokio::test]
async fn tags_of_the_user_are_on_all_that_is_made_and_stay() {
    let bench = Bench::new().await;
    bench
        .keeps_the_users_tags(|azure| {
            let tagged = azure.made_with.iter().filter(|tags| tags["team"] == "ci");
            assert_eq!(tagged.count(), 7, "{:?}", azure.made_with);
            assert_eq!(azure.only("schedules")["tags"]["team"], "ci");
            azure.only("virtualMachines")["tags"].clone()
        })
        .await;
}

#[tokio::test]
async fn spot_box_that_is_taken_back_is_missing() {
    let bench = Bench::new().await;
    let health = bench.health_of_spot_box(FakeAzure::take_back).await;
    assert_eq!(health, Health::Missing);
}

#[tokio::test]
async fn given_group_and_subnet_are_used_and_left() {
    let bench = Bench::new().await;
    let subnet = bench.fake.api().plant_network("acme-ci", "eastus");
    bench.clock.sleep(Duration::from_secs(60)).await;
    let before = bench.names();
    for name in ["box-1", "box-2"] {
        let mut order = bench.order(name);
        order.candidate.options.resource_group = Some("acme-ci".to_owned());
        order.candidate.options.subnet = Some(subnet.clone());
        bench.make(&order).await.unwrap();
    }
    let made: Vec<_> = bench
        .names()
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert_eq!(
        made.len(),
        10,
        "firewall, address, interface, box, schedule, twice: {made:?}"
    );
    assert!(made.iter().all(|name| name.starts_with("acme-ci/")), "{made:?}");
    let deadline = Deadline::after(bench.clock.now(), Duration::from_secs(1800));
    let own = bench.cloud.own_deadline().unwrap();
    own.move_deadline(&label("box-1"), deadline).await.unwrap();
    let gone = bench.down("box-1").await.unwrap();
    let kinds: Vec<_> = gone.iter().map(|gone| gone.kind).collect();
    let all = [
        ResourceKind::Machine,
        ResourceKind::Address,
        ResourceKind::Interface,
        ResourceKind::Firewall,
        ResourceKind::Schedule,
    ];
    assert_eq!(kinds, all);
    let left: Vec<_> = bench
        .names()
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert_eq!(left.len(), 5, "the other box has all of its own: {left:?}");
    bench.down_all().await;
    assert_eq!(bench.names(), before, "neither the group nor the network goes");
}

#[tokio::test]
async fn what_is_given_and_is_not_there_or_elsewhere_makes_nothing() {
    let bench = Bench::new().await;
    let subnet = bench.fake.api().plant_network("acme-ci", "westeurope");
    bench.clock.sleep(Duration::from_secs(60)).await;
    let before = bench.names();
    let missing = subnet.replace("company", "other");
    for (group, subnet, cause, help) in [
        (
            "acme-xx",
            &subnet,
            "there is no resource group acme-xx",
            "az group list",
        ),
        ("twolane-x", &subnet, "are twolane's own", "name another"),
        (
            "acme-ci",
            &"ci".to_owned(),
            "is not the id of a subnet",
            "write it whole",
        ),
        ("acme-ci", &missing, "there is no network", "az network vnet list"),
        (
            "acme-ci",
            &subnet,
            "is in westeurope and the box in eastus",
            "write `region = \"westeurope\"`",
        ),
    ] {
        let order = bench.order_with(|options| {
            options.resource_group = Some(group.to_owned());
            options.subnet = Some(subnet.clone());
        });
        let refusal = bench.make(&order).await.unwrap_err();
        assert_eq!(refusal.kind, ErrorKind::Invalid, "{refusal}");
        assert!(refusal.cause.contains(cause), "{refusal}");
        assert!(
            refusal.help.as_ref().is_some_and(|it| it.contains(help)),
            "{:?}",
            refusal.help
        );
    }
    assert_eq!(bench.names(), before);
}

#[tokio::test]
async fn reported_prices_count_more_than_the_table() {
    let bench = Bench::new().await;
    assert_eq!(
        bench.asked("Standard_D4s_v5", "eastus").await,
        Some((199_000, "USD".to_owned()))
    );
    assert_eq!(bench.asked("Standard_D4s_v5", "nowhere").await, None);
    assert!(!bench.fake.api().has_leaked, "no token goes there");
}

#[tokio::test]
async fn private_box_gets_no_public_address_and_is_found_at_its_own() {
    let bench = Bench::new().await;
    let subnet = bench.fake.api().plant_network("acme-ci", "eastus");
    let order = bench.order_with(|options| {
        bench::private(options);
        options.subnet = Some(subnet);
    });
    let machine = bench.make(&order).await.unwrap();
    bench::is_private(&machine);
    let names = bench.names();
    assert!(
        !names.iter().any(|name| name.to_lowercase().contains("publicip")),
        "{names:?}"
    );
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn page_lists_the_permissions_of_all_calls() {
    let bench = Bench::new().await;
    // Of a create that fails after its answer is asked why.
    bench.fake.api().behaviour.fails_later = Some("AllocationFailed");
    bench.refused_and_gone().await;
    bench.fake.api().behaviour.fails_later = None;
    let needed = permissions::of_a_life(&bench, &bench.order("box-1"), permissions::azure).await;
    let listed = permissions::listed("azure", "Microsoft.");
    assert_eq!(listed, needed);
    let bench = Bench::new().await;
    let subnet = bench.fake.api().plant_network("acme-ci", "eastus");
    bench.clock.sleep(Duration::from_secs(60)).await;
    let order = bench.order_with(|options| {
        options.resource_group = Some("acme-ci".to_owned());
        options.subnet = Some(subnet);
    });
    let needed = permissions::of_a_life(&bench, &order, permissions::azure).await;
    let page = include_str!("../../../../docs/clouds/azure.md");
    for action in needed.difference(&listed) {
        assert!(page.contains(&format!("`{action}`")), "{action}");
    }
}
