//! Compute Engine, through the engine's `Cloud`, against its fake.

use std::{sync::Arc, time::Duration};

use model::{
    error::ErrorKind,
    lane::KvmNeed,
    machine::{Health, ResourceKind},
    name::{Label, RunId},
    order::Order,
    time::Deadline,
    world::{Clock, Provider},
};
use providers::{
    contract::{self, Hooks},
    gcp::{Access, Gcp},
    http::Bearer,
};
use serde_json::{Value, json};

use crate::{
    bench,
    fakes::{
        gcp::{Gcp as FakeGcp, PROJECT, TOKEN},
        server::{Fault, Reply},
    },
    fuzz,
    orders::label,
    permissions,
};

type Bench = bench::Bench<Gcp, FakeGcp>;

impl Bench {
    async fn new() -> Self {
        Self::with(TOKEN).await
    }

    async fn with(token: &str) -> Self {
        let client = |url: &str| {
            Gcp::new(Access {
                project: PROJECT.to_owned(),
                network: None,
                subnetwork: None,
                authorize: Arc::new(Bearer::new(token)),
                endpoint: Some(format!("{url}/compute/v1")),
                log: None,
                time_max: None,
            })
        };
        let bench = Self::serve(("gcp", "n2-standard-4", "us-central1-a"), FakeGcp::new, client);
        bench.await.with_kvm()
    }

    async fn survives(call: &str, fault: Fault) -> Self {
        let one_was_made = |bench: &Self| {
            let made = bench.fake.api().made.get("box-1").copied();
            assert_eq!(made, Some(1), "{:?}", bench.fake.calls());
        };
        let bench = Self::new().await;
        bench.survive((call, ""), fault, one_was_made).await
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
        ["instances", "disks", "firewalls"]
            .iter()
            .all(|list| names.contains(&format!("{list}/{label}")))
    }

    fn has_remains(&self, label: &Label) -> bool {
        let ours = [
            label.to_string(),
            format!("{label}-allow"),
            format!("{label}-deny"),
        ];
        let is_of = |name: &String| {
            name.split_once('/')
                .is_some_and(|(_, name)| ours.iter().any(|of| of == name))
        };
        self.names().iter().any(is_of)
    }
}

const INSERT: &str = "POST /compute/v1/projects/acme-ci/zones/us-central1-a/instances";
const AGGREGATED: &str = "GET /compute/v1/projects/acme-ci/aggregated/instances";
const FIREWALLS: &str = "POST /compute/v1/projects/acme-ci/global/firewalls";

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
async fn a_box_has_nested_virtualisation_a_switch_and_no_open_door() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    let machine = bench.make(&order).await.unwrap();
    assert_eq!(machine.host_key.as_deref(), Some("ssh-ed25519 AAAAC3told"));
    assert_eq!(machine.region, "us-central1-a");
    let instance = bench.fake.api().instance("box-1").unwrap();
    assert_eq!(
        instance["advancedMachineFeatures"]["enableNestedVirtualization"],
        true
    );
    assert_eq!(instance["scheduling"]["instanceTerminationAction"], "DELETE");
    assert_eq!(
        instance["scheduling"]["terminationTime"],
        order.tags.deadline.moment().to_string()
    );
    assert_eq!(instance["labels"], json!(order.tags.pairs()));
    let disk = &instance["disks"][0];
    assert_eq!(
        (&disk["autoDelete"], &disk["initializeParams"]["diskSizeGb"]),
        (&json!(true), &json!("50"))
    );
    assert_eq!(disk["initializeParams"]["labels"], json!(order.tags.pairs()));
    let allow = bench.fake.api().firewall("box-1-allow").unwrap();
    let deny = bench.fake.api().firewall("box-1-deny").unwrap();
    assert_eq!(allow["sourceRanges"], json!(["203.0.113.7/32"]));
    assert_eq!(deny["sourceRanges"], json!(["0.0.0.0/0"]));
    assert!(allow["priority"].as_u64() < deny["priority"].as_u64() && deny["priority"].as_u64() < Some(1000));
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_lane_without_kvm_does_not_switch_it_on() {
    let bench = Bench::new().await;
    let order = Order {
        need: KvmNeed::None,
        ..bench.order("box-1")
    };
    bench.make(&order).await.unwrap();
    assert!(bench.fake.api().instance("box-1").unwrap()["advancedMachineFeatures"].is_null());
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn an_exhausted_zone_is_left_for_the_next_of_its_region() {
    let bench = Bench::new().await;
    let exhausted = "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS";
    bench.fake.api().behaviour.failing = [("us-central1-a", exhausted), ("us-central1-b", exhausted)].into();
    let machine = bench.up("box-1").await.unwrap();
    assert_eq!(machine.region, "us-central1-f");
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_region_that_is_exhausted_altogether_is_no_capacity() {
    let bench = Bench::new().await;
    let exhausted = "ZONE_RESOURCE_POOL_EXHAUSTED";
    let zones = ["us-central1-a", "us-central1-b", "us-central1-f"];
    bench.fake.api().behaviour.failing = zones.into_iter().map(|zone| (zone, exhausted)).collect();
    let refusal = bench.up("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoCapacity);
    assert!(
        refusal.cause.contains("does not have enough resources"),
        "{refusal}"
    );
    assert_eq!(
        bench.fake.count("POST /compute/v1/projects/acme-ci/zones/europe"),
        0
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_quota_in_the_operation_is_a_quota_and_no_other_zone_is_tried() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.failing = [("us-central1-a", "QUOTA_EXCEEDED")].into();
    assert_eq!(bench.up("box-1").await.unwrap_err().kind, ErrorKind::QuotaReached);
    assert_eq!(
        bench
            .fake
            .count("POST /compute/v1/projects/acme-ci/zones/us-central1-b"),
        0
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rule_that_does_not_come_about_keeps_the_box_from_being_made() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.firewall_fails = Some("PERMISSIONS_ERROR");
    assert_eq!(bench.up("box-1").await.unwrap_err().kind, ErrorKind::Unauthorized);
    assert_eq!(bench.fake.count(INSERT), 0);
}

#[tokio::test]
async fn an_insert_may_be_lost_twice_or_garbage() {
    for fault in [Fault::LoseAnswer, Fault::LoseCall, Fault::Twice, Fault::Garbage] {
        Bench::survives(INSERT, fault).await;
    }
    let reply = Reply {
        status: 502,
        headers: Vec::new(),
        body: b"<html>Bad Gateway".to_vec(),
    };
    Bench::survives(INSERT, Fault::Belie(reply)).await;
}

#[tokio::test]
async fn every_other_call_may_be_lost() {
    let operation = "GET /compute/v1/projects/acme-ci/zones/us-central1-a/operations";
    let delete = "DELETE /compute/v1/projects/acme-ci/zones/us-central1-a/instances";
    let rule = "DELETE /compute/v1/projects/acme-ci/global/firewalls";
    for call in [AGGREGATED, FIREWALLS, operation, delete, rule] {
        for fault in [Fault::LoseAnswer, Fault::LoseCall] {
            Bench::survives(call, fault).await;
        }
    }
}

#[tokio::test]
async fn a_list_that_is_incomplete_proves_nothing() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.unreachable.insert("us-central1-a");
    let error = bench.down("box-1").await.unwrap_err();
    assert!(error.cause.contains("us-central1-a did not answer"), "{error}");
    bench.fake.api().behaviour.unreachable.clear();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_disk_that_outlives_its_box_is_destroyed() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.disk_stays = true;
    bench.up("box-1").await.unwrap();
    let gone = bench.down("box-1").await.unwrap();
    let kinds: Vec<_> = gone.iter().map(|gone| gone.kind).collect();
    assert_eq!(
        kinds,
        [
            ResourceKind::Machine,
            ResourceKind::Disk,
            ResourceKind::Firewall,
            ResourceKind::Firewall
        ]
    );
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn the_host_key_is_read_from_the_console_where_guest_attributes_are_forbidden() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.has_guest_attributes = false;
    let machine = bench.up("box-1").await.unwrap();
    assert_eq!(machine.host_key.as_deref(), Some("ssh-ed25519 AAAAC3printed"));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn all_pages_are_listed() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.page_max = 2;
    for name in ["box-1", "box-2", "box-3"] {
        bench.up(name).await.unwrap();
    }
    assert_eq!(bench.cloud.listing().unwrap().list().await.unwrap().len(), 12);
    bench.down_all().await;
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn types_without_kvm_are_refused_before_any_call() {
    let bench = Bench::new().await;
    let mut order = bench.order("box-1");
    order.candidate.instance_type = "e2-standard-4".to_owned();
    let refusal = bench.make(&order).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoKvm);
    assert!(refusal.help.unwrap().contains("n2-standard-4"));
    assert_eq!(bench.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn an_expired_token_is_unauthorized_and_never_shown() {
    let bench = Bench::with("ya29.expired-expired-expired").await;
    let refusal = bench.up("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    assert!(refusal.help.as_ref().unwrap().contains("gcloud auth"));
    assert!(!format!("{refusal:?}").contains("expired-expired"), "{refusal:?}");
}

#[tokio::test]
async fn a_deadline_can_only_come_nearer() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    let switch = bench.cloud.own_deadline().unwrap();
    let sooner = Deadline::after(bench.clock.now(), Duration::from_secs(600));
    switch.move_deadline(&label("box-1"), sooner).await.unwrap();
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    let moved = listed
        .iter()
        .filter(|listed| listed.tags.as_ref().unwrap().deadline == sooner);
    assert_eq!(moved.count(), 3, "box and rules: {listed:?}");
    let later = Deadline::after(bench.clock.now(), Duration::from_secs(90_000));
    let refusal = switch.move_deadline(&label("box-1"), later).await.unwrap_err();
    assert!(refusal.help.unwrap().contains("longer `ttl`"));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn the_console_is_read() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    let console = bench
        .cloud
        .console()
        .unwrap()
        .console(&label("box-1"))
        .await
        .unwrap();
    assert!(console.starts_with(b"[    0.0] Linux"));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn doctor_reports_what_is_in_the_way() {
    let bench = Bench::new().await;
    let preflight = bench.cloud.preflight().unwrap();
    let bad = |findings: Vec<model::world::Finding>| {
        findings
            .into_iter()
            .filter(|finding| !finding.is_good)
            .map(|finding| finding.what)
            .collect::<Vec<_>>()
    };
    let n1 = preflight
        .preflight("n1-standard-4", "us-central1-a", KvmNeed::Required)
        .await;
    assert_eq!(bad(n1), Vec::<String>::new());
    let n2 = preflight
        .preflight("n2-standard-4", "us-central1", KvmNeed::Required)
        .await;
    assert_eq!(bad(n2), ["quota"], "two of eight processors are free");
    let e2 = preflight
        .preflight("e2-standard-4", "us-central1-a", KvmNeed::Required)
        .await;
    assert_eq!(bad(e2), ["type", "kvm"]);
}

#[tokio::test]
async fn ranges_of_ipv6_alone_open_no_door() {
    let bench = Bench::new().await;
    let order = Order {
        allow: vec!["2001:db8::/48".to_owned()],
        ..bench.order("box-1")
    };
    let refusal = bench.make(&order).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(refusal.cause.contains("no IPv4 address"), "{refusal}");
    assert!(refusal.help.unwrap().contains("--allow-cidr"));
    assert_eq!(bench.fake.calls(), Vec::<String>::new());
}

#[tokio::test]
async fn organisations_policy_is_final_and_has_help() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.policy =
        Some("Constraint constraints/compute.vmExternalIpAccess violated for project 1234.");
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::Invalid, "{refusal}");
    assert!(refusal.help.unwrap().contains("policy"));
    assert_eq!(bench.fake.count(INSERT), 1);
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn bare_metal_gets_a_hyperdisk() {
    let bench = Bench::new().await;
    let order = bench.order_of("c3-standard-192-metal", "us-central1-a");
    bench.make(&order).await.unwrap();
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn zones_that_do_not_sell_the_type_are_skipped() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.unsold = ["us-central1-a", "us-central1-b"].into();
    assert_eq!(bench.up("box-1").await.unwrap().region, "us-central1-f");
    assert_eq!(bench.fake.count(INSERT), 0);
    bench.down("box-1").await.unwrap();
    bench.fake.api().behaviour.unsold.insert("us-central1-f");
    assert_eq!(bench.refused().await.kind, ErrorKind::NoCapacity);
    assert_eq!(bench.names(), Vec::<String>::new(), "nothing is made for it");
}

#[tokio::test]
async fn region_without_a_zone_a_serves() {
    let bench = Bench::new().await;
    let machine = bench
        .make(&bench.order_of("n2-standard-4", "us-east1"))
        .await
        .unwrap();
    assert_eq!(machine.region, "us-east1-b");
    let preflight = bench.cloud.preflight().unwrap();
    let findings = preflight
        .preflight("n1-standard-4", "us-east1", KvmNeed::Required)
        .await;
    assert!(findings.iter().all(|finding| finding.is_good), "{findings:?}");
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn deleted_default_network_is_refused_with_help() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.networks.clear();
    let refusal = bench.refused().await;
    assert_eq!(refusal.kind, ErrorKind::NotFound);
    assert!(refusal.help.unwrap().contains("name the `subnet` to use"));
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn shared_network_is_named_whole() {
    let network = "projects/host/global/networks/shared";
    let subnetwork = "projects/host/regions/us-central1/subnetworks/ci";
    let client = |url: &str| {
        Gcp::new(Access {
            project: PROJECT.to_owned(),
            network: Some(network.to_owned()),
            subnetwork: Some(subnetwork.to_owned()),
            authorize: Arc::new(Bearer::new(TOKEN)),
            endpoint: Some(format!("{url}/compute/v1")),
            log: None,
            time_max: None,
        })
    };
    let place = ("gcp", "n2-standard-4", "us-central1-a");
    let bench: Bench = bench::Bench::serve(place, FakeGcp::new, client).await.with_kvm();
    let subnetworks = [(subnetwork.to_owned(), network.to_owned())];
    bench.fake.api().behaviour.subnetworks.extend(subnetworks);
    bench.up("box-1").await.unwrap();
    let instance = bench.fake.api().instance("box-1").unwrap();
    let interface = &instance["networkInterfaces"][0];
    assert_eq!(
        (&interface["network"], &interface["subnetwork"]),
        (&json!(network), &json!(subnetwork))
    );
    assert_eq!(
        bench
            .fake
            .count("POST /compute/v1/projects/acme-ci/global/firewalls"),
        0,
        "they are its host's matter"
    );
    let user_data = instance["metadata"]["items"][0]["value"].as_str().unwrap();
    assert!(
        user_data.contains("saddr 203.0.113.7/32"),
        "the box guards itself: {user_data}"
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

/// A candidate's own subnet counts more than a variable's; its rules are in its own network.
#[tokio::test]
async fn subnet_of_the_own_project_is_found_with_its_network() {
    let bench = Bench::new().await;
    let network = format!("projects/{PROJECT}/global/networks/company");
    let subnetwork = format!("projects/{PROJECT}/regions/us-central1/subnetworks/ci");
    let order = bench.order_with(|options| options.subnet = Some("ci".to_owned()));
    let missing = bench.make(&order).await.unwrap_err();
    assert!(
        missing
            .help
            .unwrap()
            .contains("gcloud compute networks subnets list")
    );
    bench.fake.api().behaviour.networks = [network.clone()].into();
    let subnetworks = [(subnetwork.clone(), network.clone())];
    bench.fake.api().behaviour.subnetworks.extend(subnetworks);
    bench.make(&order).await.unwrap();
    let instance = bench.fake.api().instance("box-1").unwrap();
    assert_eq!(instance["networkInterfaces"][0]["subnetwork"], subnetwork);
    assert_eq!(
        bench.fake.api().firewall("box-1-deny").unwrap()["network"],
        network
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn list_without_an_end_is_given_up() {
    let set = |fake: &mut FakeGcp, is_endless| fake.behaviour.is_endless = is_endless;
    Bench::new().await.gives_up_a_list_without_an_end(set).await;
}

#[tokio::test]
async fn foreign_row_that_makes_no_sense_hides_nobody() {
    let add = |page: &mut Value| {
        let odd = json!({"id": null, "name": null, "zone": null});
        match &mut page["items"] {
            Value::Array(rows) => rows.push(odd),
            Value::Object(zones) => {
                let lists = zones.values_mut().filter_map(Value::as_object_mut);
                let lists = lists.flat_map(|zone| zone.values_mut().filter_map(Value::as_array_mut));
                lists.for_each(|list| list.push(odd.clone()));
            }
            _ => {}
        }
    };
    Bench::new().await.lists_all_beside_a_row(add).await;
}

#[tokio::test]
async fn replaced_host_key_is_read_again() {
    let bench = Bench::new().await;
    let machine = bench.up("box-1").await.unwrap();
    assert!(machine.host_key.is_some());
    let reported = bench.cloud.host_key(&machine).await.unwrap();
    assert_eq!(reported, machine.host_key);
    bench.fake.api().renew_host_keys();
    let renewed = bench.cloud.host_key(&machine).await.unwrap().unwrap();
    assert!(renewed.ends_with("Renewed"), "{renewed}");
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.cloud.host_key(&machine).await.unwrap(), None);
}

#[tokio::test]
async fn labels_of_the_user_are_on_the_box_and_stay() {
    let bench = Bench::new().await;
    bench
        .keeps_the_users_tags(|gcp| {
            let instance = gcp.instance("box-1").unwrap();
            assert_eq!(instance["disks"][0]["initializeParams"]["labels"]["team"], "ci");
            instance["labels"].clone()
        })
        .await;
}

#[tokio::test]
async fn spot_box_that_is_taken_back_is_dead_with_the_reason() {
    let bench = Bench::new().await;
    let health = bench
        .health_of_spot_box(|gcp| {
            let scheduling = gcp.instance("box-1").unwrap()["scheduling"].clone();
            assert_eq!(scheduling["provisioningModel"], "SPOT");
            assert_eq!(scheduling["instanceTerminationAction"], "DELETE");
            gcp.take_back();
        })
        .await;
    let expected = "compute.instances.preempted: Instance was preempted.";
    assert_eq!(health, Health::Dead(expected.to_owned()));
}

#[tokio::test]
async fn private_box_gets_no_public_address_and_is_found_at_its_own() {
    let bench = Bench::new().await;
    let machine = bench.make(&bench.order_with(bench::private)).await.unwrap();
    bench::is_private(&machine);
    let made = bench.fake.api().instance("box-1").unwrap();
    let interface = &made["networkInterfaces"][0];
    assert_eq!(interface["accessConfigs"], json!([]), "{interface}");
}

#[tokio::test]
async fn page_lists_the_permissions_of_all_calls() {
    let bench = Bench::new().await;
    let network = format!("projects/{PROJECT}/global/networks/ci");
    let subnetwork = format!("projects/{PROJECT}/regions/us-central1/subnetworks/ci");
    bench.health_of_spot_box(FakeGcp::take_back).await;
    bench.fake.api().behaviour.disk_stays = true;
    bench.fake.api().behaviour.networks.insert(network.clone());
    let subnetworks = [(subnetwork, network)];
    bench.fake.api().behaviour.subnetworks.extend(subnetworks);
    let order = bench.order_with(|options| options.subnet = Some("ci".to_owned()));
    let needed = permissions::of_a_life(&bench, &order, permissions::gcp).await;
    assert_eq!(permissions::listed("gcp", "compute."), needed);
}
