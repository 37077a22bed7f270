//! EC2, through the engine's `Cloud`, against its fake.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use model::{
    error::ErrorKind,
    lane::KvmNeed,
    machine::{Health, ResourceKind},
    name::{Label, RunId, Token},
    order::Order,
    scope::Scope,
    selector::Selector,
    time::{Deadline, Timestamp, after},
    world::{Clock, Provider},
};
use providers::{
    aws::{Access, Aws, Identity},
    contract::{self, Hooks, Reports},
};

use serde_json::json;

use crate::{
    bench,
    fakes::{
        aws::{Aws as FakeAws, KEY_ID},
        clock::TestClock,
        server::{Fault, Reply},
    },
    fuzz,
    orders::label,
};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

type Bench = bench::Bench<Aws, FakeAws>;

impl Bench {
    async fn new() -> Self {
        Self::with(KEY_ID, None).await
    }

    async fn with(key_id: &str, group: Option<&str>) -> Self {
        Self::expiring(key_id, group, None).await
    }

    async fn expiring(key_id: &str, group: Option<&str>, expiry: Option<Timestamp>) -> Self {
        let identity = Identity::fixed(key_id, SECRET).expiring(expiry);
        Self::of(identity, group, None).await
    }

    async fn trusting(ca_bundle: PathBuf) -> Self {
        Self::of(Identity::fixed(KEY_ID, SECRET), None, Some(ca_bundle)).await
    }

    async fn of(identity: Identity, group: Option<&str>, ca_bundle: Option<PathBuf>) -> Self {
        let client = |url: &str| {
            Aws::new(Access {
                identity: Arc::new(identity),
                ca_bundle,
                region: None,
                group: group.map(str::to_owned),
                subnet: None,
                endpoint: Some(url.to_owned()),
                log: None,
                time_max: None,
            })
        };
        let bench = Self::serve(("aws", "c8i.xlarge", "us-east-1"), FakeAws::new, client);
        bench.await.with_kvm()
    }

    async fn survives(action: &str, fault: Fault) -> Self {
        let one_was_made = |bench: &Self| assert_eq!(bench.fake.api().instances_made(), 1, "{action}");
        let call = ("POST /", &*format!("Action={action}&"));
        let bench = Self::new().await;
        bench.survive(call, fault, one_was_made).await
    }
}

impl Hooks for Bench {
    fn order(&self, label: &Label, run: &RunId) -> Order {
        self.order_for(label, run)
    }

    fn plant_foreign(&self, label: &Label) {
        self.fake.api().plant(
            label.as_str(),
            "eu-central-1",
            &BTreeMap::from([("team".to_owned(), "other".to_owned())]),
        );
    }

    fn has_foreign(&self, label: &Label) -> bool {
        let names = self.names();
        ["i", "vol", "sg"]
            .iter()
            .all(|kind| names.contains(&format!("{kind}/{label}")))
    }

    fn has_remains(&self, label: &Label) -> bool {
        self.names().iter().any(|name| {
            name.split_once('/')
                .is_some_and(|(_, name)| name == label.as_str())
        })
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
async fn a_nested_box_is_made_as_it_should_be() {
    let bench = Bench::new().await;
    let order = bench.order("box-1");
    let machine = bench.make(&order).await.unwrap();
    assert_eq!(
        (machine.region.as_str(), machine.instance_type.as_str()),
        ("us-east-1", "c8i.xlarge")
    );
    let made = bench.fake.api().made_with("box-1").unwrap();
    let is = |key: &str, value: &str| assert_eq!(made.get(key).map(String::as_str), Some(value), "{key}");
    is("CpuOptions.NestedVirtualization", "enabled");
    is("ImageId", "ami-new");
    is("BlockDeviceMapping.1.DeviceName", "/dev/sda1");
    is("BlockDeviceMapping.1.Ebs.VolumeSize", "50");
    is("BlockDeviceMapping.1.Ebs.VolumeType", "gp3");
    is("InstanceInitiatedShutdownBehavior", "terminate");
    is("MetadataOptions.HttpTokens", "required");
    for (kind, tags) in bench.fake.api().all_tags() {
        for (key, value) in order.tags.pairs() {
            assert_eq!(tags.get(&key), Some(&value), "{kind} {key}");
        }
    }
    assert_eq!(
        bench.fake.api().let_in("mvm-ephemeral-ssh-box-1"),
        ["203.0.113.7/32"]
    );
    let gone = bench.down("box-1").await.unwrap();
    let kinds: Vec<_> = gone.iter().map(|gone| gone.kind).collect();
    let all = [
        ResourceKind::Machine,
        ResourceKind::Disk,
        ResourceKind::Interface,
        ResourceKind::Firewall,
    ];
    assert_eq!(kinds, all);
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn bare_metal_is_not_reported_to_nest() {
    let bench = Bench::new().await;
    bench
        .make(&Order {
            need: KvmNeed::Metal,
            ..bench.order_of("c5.metal", "us-east-1")
        })
        .await
        .unwrap();
    let made = bench.fake.api().made_with("box-1").unwrap();
    assert!(!made.contains_key("CpuOptions.NestedVirtualization"));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn an_arm_type_gets_an_arm_image() {
    let bench = Bench::new().await;
    bench
        .make(&bench.order_of("a1.metal", "us-east-1"))
        .await
        .unwrap();
    assert_eq!(
        bench
            .fake
            .api()
            .made_with("box-1")
            .unwrap()
            .get("ImageId")
            .map(String::as_str),
        Some("ami-arm")
    );
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn a_type_that_can_do_neither_is_refused_with_the_nearest_that_can() {
    let bench = Bench::new().await;
    let refusal = bench
        .make(&bench.order_of("c6i.xlarge", "us-east-1"))
        .await
        .unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::NoKvm);
    assert!(
        refusal.cause.contains("neither nest") && refusal.cause.contains("nor is it bare metal"),
        "{refusal}"
    );
    assert!(
        refusal
            .help
            .unwrap()
            .ends_with("c7i.xlarge, c8i.xlarge, m7i.xlarge")
    );
    assert_eq!(bench.fake.api().instances_made(), 0);
    assert_eq!(
        bench.names(),
        Vec::<String>::new(),
        "nothing was made beside it either"
    );
    bench
        .make(&Order {
            need: KvmNeed::None,
            ..bench.order_of("c6i.xlarge", "us-east-1")
        })
        .await
        .unwrap();
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn a_zone_without_capacity_is_left_for_the_next() {
    for code in ["InsufficientInstanceCapacity", "Unsupported"] {
        let bench = Bench::new().await;
        bench.fake.api().behaviour.failing.insert("us-east-1a", code);
        bench.up("box-1").await.unwrap();
        let made = bench.fake.api().made_with("box-1").unwrap();
        assert_eq!(
            made.get("NetworkInterface.1.SubnetId").map(String::as_str),
            Some("subnet-us-east-1b")
        );
        bench.down("box-1").await.unwrap();
        assert_eq!(bench.names(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_accounts_limit_is_a_quota_and_no_other_zone_is_tried() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.failing =
        [("us-east-1a", "VcpuLimitExceeded"), ("us-east-1b", "Unexpected")].into();
    assert_eq!(bench.up("box-1").await.unwrap_err().kind, ErrorKind::QuotaReached);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn an_instance_that_dies_at_birth_is_no_capacity() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.dies_of = Some("Server.InsufficientInstanceCapacity");
    assert_eq!(bench.up("box-1").await.unwrap_err().kind, ErrorKind::NoCapacity);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_create_may_be_lost_twice_or_garbage() {
    for fault in [Fault::LoseAnswer, Fault::LoseCall, Fault::Twice, Fault::Garbage] {
        Bench::survives("RunInstances", fault).await;
    }
    let reply = Reply {
        status: 500,
        headers: Vec::new(),
        body: b"Internal Failure".to_vec(),
    };
    Bench::survives("RunInstances", Fault::Belie(reply)).await;
}

#[tokio::test]
async fn every_other_call_may_be_lost() {
    for action in [
        "CreateSecurityGroup",
        "AuthorizeSecurityGroupIngress",
        "DescribeInstances",
        "DescribeImages",
        "DescribeRegions",
        "TerminateInstances",
        "DeleteSecurityGroup",
    ] {
        for fault in [Fault::LoseAnswer, Fault::LoseCall] {
            Bench::survives(action, fault).await;
        }
    }
}

#[tokio::test]
async fn throttled_calls_are_waited_out() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.throttled = 5;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.throttled = 5;
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn boxes_of_all_regions_are_listed_page_by_page() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.page_max = 1;
    for (name, region) in [
        ("box-1", "us-east-1"),
        ("box-2", "eu-central-1"),
        ("box-3", "eu-central-1"),
    ] {
        let mut order = bench.order(name);
        order.candidate.region = region.to_owned();
        bench.make(&order).await.unwrap();
    }
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    assert_eq!(
        listed
            .iter()
            .filter(|listed| listed.kind == ResourceKind::Machine)
            .count(),
        3
    );
    bench.down_all().await;
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_disk_that_outlives_its_box_is_destroyed() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.disk_stays = true;
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn a_group_of_the_operators_own_is_used_and_left_alone() {
    let bench = Bench::with(KEY_ID, Some("sg-mine")).await;
    bench.up("box-1").await.unwrap();
    let made = bench.fake.api().made_with("box-1").unwrap();
    assert_eq!(
        made.get("NetworkInterface.1.SecurityGroupId.1")
            .map(String::as_str),
        Some("sg-mine")
    );
    assert!(bench.fake.api().all_tags().iter().all(|(kind, _)| *kind != "sg"));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn long_user_data_is_packed_and_refused_when_it_cannot_fit() {
    let bench = Bench::new().await;
    bench
        .make(&Order {
            user_data: "#cloud-config\n".repeat(4000),
            ..bench.order("box-1")
        })
        .await
        .unwrap();
    bench.down("box-1").await.unwrap();
    let noise: String = (0_u64..9000)
        .map(|n| format!("{:016x}", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    let refusal = bench
        .make(&Order {
            user_data: noise,
            ..bench.order("box-2")
        })
        .await
        .unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(refusal.cause.contains("EC2 takes 16384"), "{refusal}");
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn wrong_keys_are_unauthorized_and_never_shown() {
    let bench = Bench::with("AKIDWRONG", None).await;
    let refusal = bench.up("box-1").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    assert!(refusal.help.as_ref().unwrap().contains("AWS_PROFILE"));
    assert!(!format!("{refusal:?}").contains(&SECRET[..10]));
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
async fn the_console_is_read_even_where_it_is_not_live() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    let console = bench
        .cloud
        .console()
        .unwrap()
        .console(&label("box-1"))
        .await
        .unwrap();
    assert!(console.starts_with(b"[    0.0] Linux"), "{console:?}");
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
    assert_eq!(
        bad(preflight
            .preflight("c8i.xlarge", "us-east-1", KvmNeed::Required)
            .await),
        Vec::<String>::new()
    );
    assert_eq!(
        bad(preflight
            .preflight("c6i.xlarge", "us-east-1", KvmNeed::Required)
            .await),
        ["kvm"]
    );
    assert_eq!(
        bad(preflight
            .preflight("x9.huge", "us-east-1", KvmNeed::Required)
            .await),
        ["type"]
    );
    bench.fake.api().behaviour.vcpus_max = Some(2);
    let findings = preflight.preflight("c8i.xlarge", "us-east-1", KvmNeed::Required);
    let findings = findings.await;
    assert_eq!(bad(findings.clone()), ["quota"], "{findings:?}");
    bench.fake.api().behaviour.vcpus_max = None;
    let findings = preflight
        .preflight("c8i.xlarge", "us-east-1", KvmNeed::Required)
        .await;
    let quota = findings.iter().find(|finding| finding.what == "quota").unwrap();
    assert!(
        quota.is_good && quota.found.starts_with("not known: "),
        "{quota:?}"
    );
    for action in ["RunInstances", "CreateSecurityGroup"] {
        bench.fake.api().behaviour.denied_actions = [action].into();
        let findings = preflight.preflight("c8i.xlarge", "us-east-1", KvmNeed::Required);
        assert_eq!(bad(findings.await), ["permission"], "{action}");
    }
    assert_eq!(bench.names(), Vec::<String>::new(), "a look makes nothing");
}

#[tokio::test]
async fn denied_region_keeps_no_box_alive() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.denied_regions.insert("ap-south-1");
    let scope = Scope {
        first: ["us-east-1a".to_owned()].into(),
        ..Selector::Label(label("box-1")).into()
    };
    let destroyed = bench.cloud.destroy(&scope, &Reports::default()).await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
    assert!(
        destroyed
            .gone
            .iter()
            .any(|gone| gone.kind == ResourceKind::Machine)
    );
    let gaps: Vec<_> = destroyed.gaps.iter().map(ToString::to_string).collect();
    assert!(
        gaps.len() == 1 && gaps[0].starts_with("could not look in ap-south-1") && gaps[0].contains("denied"),
        "{gaps:?}"
    );
}

#[tokio::test]
async fn region_of_the_box_that_is_denied_is_no_success() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.denied_regions.insert("us-east-1");
    let scope = Scope {
        first: ["us-east-1".to_owned()].into(),
        ..Selector::Label(label("box-1")).into()
    };
    let error = bench
        .cloud
        .destroy(&scope, &Reports::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unauthorized);
    assert!(error.help.unwrap().contains("policy"));
}

#[tokio::test]
async fn known_region_takes_few_calls_to_clear() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.leave = Duration::from_secs(1);
    bench.up("box-1").await.unwrap();
    let before = bench.fake.calls().len();
    let scope = Scope {
        first: ["us-east-1a".to_owned()].into(),
        is_everywhere: false,
        ..Selector::Label(label("box-1")).into()
    };
    bench.cloud.destroy(&scope, &Reports::default()).await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
    let calls = bench.fake.calls().split_off(before);
    assert!(calls.len() <= 12, "{} calls: {calls:?}", calls.len());
}

#[tokio::test]
async fn group_that_was_just_made_is_waited_for() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.group_lag = Duration::from_secs(30);
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
    bench.fake.api().behaviour.group_lag = Duration::from_secs(600);
    let began = bench.clock.now();
    assert_eq!(bench.refused().await.kind, ErrorKind::NotYet);
    let waited = model::time::between(began, bench.clock.now());
    assert!(waited < Duration::from_secs(120), "{waited:?}");
}

#[tokio::test]
async fn denied_deletion_of_what_went_along_is_no_failure() {
    for action in ["DeleteVolume", "DeleteNetworkInterface"] {
        let bench = Bench::new().await;
        bench.up("box-1").await.unwrap();
        bench.fake.api().behaviour.denied_actions.insert(action);
        bench.down("box-1").await.unwrap();
        assert_eq!(bench.names(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn dead_instance_says_why_it_died() {
    for (code, kind) in [
        ("Client.InvalidKMSKey.DisabledState", ErrorKind::Invalid),
        ("Client.InternalError", ErrorKind::Unavailable),
        ("Client.VolumeLimitExceeded", ErrorKind::QuotaReached),
        ("Server.InsufficientInstanceCapacity", ErrorKind::NoCapacity),
    ] {
        let bench = Bench::new().await;
        bench.fake.api().behaviour.dies_of = Some(code);
        let refusal = bench.refused().await;
        assert_eq!(refusal.kind, kind, "{refusal}");
        assert!(refusal.cause.contains(code), "{refusal}");
        bench.down("box-1").await.unwrap();
        assert_eq!(bench.names(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn token_of_a_dead_instance_makes_no_other() {
    let bench = Bench::new().await;
    bench.fake.api().behaviour.dies_of = Some("Client.InternalError");
    let mut order = bench.order("box-1");
    let refusal = bench.make(&order).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unavailable);
    bench.fake.api().behaviour.dies_of = None;
    let again = bench.make(&order).await.unwrap_err();
    assert!(again.cause.contains("i-"), "the same dead instance: {again}");
    order.tags.token = Token::new("box-1-second").unwrap();
    bench.make(&order).await.unwrap();
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn strangers_image_of_the_same_name_loses() {
    let bench = Bench::new().await;
    let mut order = bench.order("box-1");
    order.candidate.image = Some("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-1".to_owned());
    bench.make(&order).await.unwrap();
    let made = bench.fake.api().made_with("box-1").unwrap();
    assert_eq!(made.get("ImageId").map(String::as_str), Some("ami-new"));
    bench.down("box-1").await.unwrap();
}

#[tokio::test]
async fn unknown_state_never_counts_as_gone() {
    let bench = Bench::new().await;
    bench.up("box-1").await.unwrap();
    bench.fake.api().behaviour.running = "defragmenting";
    let listed = bench.cloud.listing().unwrap().list().await.unwrap();
    assert!(
        listed.iter().any(|listed| listed.kind == ResourceKind::Machine),
        "{listed:?}"
    );
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn expired_credentials_make_nothing() {
    let now = TestClock::new().now();
    let bench = Bench::expiring(KEY_ID, None, Some(after(now, Duration::from_secs(600)))).await;
    bench.up("box-1").await.unwrap();
    bench.down("box-1").await.unwrap();
    bench.clock.sleep(Duration::from_secs(3600)).await;
    let calls = bench.fake.calls().len();
    let refusal = bench.up("box-2").await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Unauthorized);
    assert!(
        refusal.cause.contains("expired at") && refusal.help.is_some(),
        "{refusal}"
    );
    assert_eq!(bench.fake.calls().len(), calls, "nothing was asked");
}

#[tokio::test]
async fn list_without_an_end_is_given_up() {
    let set = |fake: &mut FakeAws, is_endless| fake.behaviour.is_endless = is_endless;
    Bench::new().await.gives_up_a_list_without_an_end(set).await;
}

#[tokio::test]
async fn bundle_of_certificates_that_cannot_be_read_is_named() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for (bundle, why) in [
        (PathBuf::from("/nowhere/ca.pem"), "/nowhere/ca.pem: "),
        (empty.path().to_owned(), "holds no certificate"),
    ] {
        let bench = Bench::trusting(bundle).await;
        let refusal = bench.refused().await;
        assert!(refusal.cause.contains(why) && refusal.help.is_some(), "{refusal}");
        assert_eq!(bench.fake.calls(), Vec::<String>::new(), "nothing was asked");
    }
}

#[test]
fn page_lists_the_permissions_of_all_calls() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let quoted = |text: &str, before: &str| {
        let words = text.split(before).skip(1);
        let words = words.filter_map(|rest| rest.split_once('"').map(|(word, _)| word.to_owned()));
        words.collect::<BTreeSet<_>>()
    };
    let page = std::fs::read_to_string(root.join("../../docs/clouds/aws.md")).unwrap();
    let mut called = BTreeSet::new();
    for file in std::fs::read_dir(root.join("src/aws")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        called.extend(quoted(&text, "Params::new(\""));
        called.extend(quoted(&text, " params(\""));
    }
    assert!(called.contains("DescribeVolumes") && called.contains("RunInstances"));
    assert_eq!(quoted(&page, "\"ec2:"), called);
}

#[tokio::test]
async fn tags_of_the_user_are_on_all_that_is_made_and_stay() {
    let bench = Bench::new().await;
    bench
        .keeps_the_users_tags(|aws| {
            let all = aws.all_tags();
            let is_tagged =
                |tags: &BTreeMap<String, String>| tags.get("team").is_some_and(|team| team == "ci");
            assert!(all.iter().all(|(_, tags)| is_tagged(tags)), "{all:?}");
            json!(all[0].1)
        })
        .await;
}

#[tokio::test]
async fn spot_box_that_is_taken_back_is_dead_with_the_reason() {
    let bench = Bench::new().await;
    let health = bench
        .health_of_spot_box(|aws| {
            let made = aws.made_with("box-1").unwrap();
            assert_eq!(made["InstanceMarketOptions.MarketType"], "spot");
            aws.take_back();
        })
        .await;
    assert!(
        matches!(&health, Health::Dead(why) if why.contains("Server.SpotInstanceTermination")),
        "{health:?}"
    );
}

#[tokio::test]
async fn given_subnet_and_security_group_are_used_and_left() {
    let bench = Bench::new().await;
    let mut order = bench.order_with(|options| {
        options.subnet = Some("subnet-us-east-1b".to_owned());
        options.security_group = Some("sg-mine".to_owned());
    });
    order.allow.clear();
    bench.make(&order).await.unwrap();
    let made = bench.fake.api().made_with("box-1").unwrap();
    assert_eq!(made["NetworkInterface.1.SubnetId"], "subnet-us-east-1b");
    assert_eq!(made["NetworkInterface.1.SecurityGroupId.1"], "sg-mine");
    assert_eq!(bench.fake.count_in_body("POST", "Action=CreateSecurityGroup"), 0);
    bench.down("box-1").await.unwrap();
    assert_eq!(bench.fake.count_in_body("POST", "Action=DeleteSecurityGroup"), 0);
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn subnet_of_another_region_makes_nothing_and_says_so() {
    let bench = Bench::new().await;
    let order = bench.order_with(|options| options.subnet = Some("subnet-eu-west-1a".to_owned()));
    let refusal = bench.make(&order).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(
        refusal
            .cause
            .contains("us-east-1 has no subnet subnet-eu-west-1a, and a subnet serves"),
        "{refusal}"
    );
    assert!(refusal.help.unwrap().contains("write the `region` of the subnet"));
    assert_eq!(bench.names(), Vec::<String>::new());
}

#[tokio::test]
async fn private_box_gets_no_public_address_and_is_found_at_its_own() {
    let bench = Bench::new().await;
    let order = bench.order_with(bench::private);
    let machine = bench.make(&order).await.unwrap();
    bench::is_private(&machine);
    let made = bench.fake.api().made_with("box-1").unwrap();
    assert_eq!(made["NetworkInterface.1.AssociatePublicIpAddress"], "false");
    let machine = bench.make(&bench.order("box-2")).await.unwrap();
    assert_eq!(
        (machine.address.to_string().starts_with("198."), machine.jump),
        (true, None)
    );
}

#[tokio::test]
async fn unknown_security_group_makes_nothing_and_says_so() {
    let bench = Bench::new().await;
    let order = bench.order_with(|options| options.security_group = Some("sg-other".to_owned()));
    let refusal = bench.make(&order).await.unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::Invalid);
    assert!(
        refusal.cause.contains("us-east-1 has no security group sg-other"),
        "{refusal}"
    );
    assert!(refusal.help.unwrap().contains("leave it away"));
    assert_eq!(bench.fake.count_in_body("POST", "Action=RunInstances"), 0);
}
