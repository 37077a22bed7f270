//! The whole flow on each cloud: its API answers from the fake, SSH leads into a real VM.

use std::{fs, time::Duration};

use serde_json::Value;

use crate::{
    fakes::{
        aws::{self, Aws},
        azure::{self, Azure},
        clock::TestClock,
        gcp::{self, Gcp},
        hetzner::{self, Hetzner},
        latitude::{self, Latitude},
        ovh::{self, Ovh},
        server::{Api, Behind, Fake},
        vultr::{self, Vultr},
    },
    real_boxes::RealCloud,
    support::{Bench, is, wait_until},
};

/// What takes minutes at a vendor. The VM takes its own time after that.
const SHORT: Duration = Duration::from_secs(1);

/// The machine that asks, as a box on it sees it. Boxes with a firewall of their own let nobody else in.
const OPERATOR: &str = "10.0.2.2/32";

/// What the other tests install, so that the base image is theirs, but for Rust.
const SYSTEM: &str = r#"
[system]
packages = ["build-essential"]
"#;

/// Where a box has to set up its own firewall, the vendor's images bring what that takes.
const SYSTEM_WITH_FIREWALL: &str = r#"
[system]
packages = ["nftables"]
"#;

/// What is run on a box.
const CHECK: &str = "id -un && cat hello.txt";

/// The same where a box has to set up its own firewall: the kernel loads what holds its rules when there are some.
const CHECK_WITH_FIREWALL: &str = "grep -q ^nf_tables /proc/modules && id -un && cat hello.txt";

/// A cloud as a run meets it.
trait Cloud: Api + Sized {
    /// Its name as a provider.
    const NAME: &'static str;
    /// What a box may cost, in the currency of its prices.
    const COST_MAX: &'static str;
    /// What its boxes are prepared with.
    const SYSTEM: &'static str = SYSTEM;
    /// What is run on them.
    const CHECK: &'static str = CHECK;
    /// How the call begins that makes a box, and what is in its body.
    const CREATE: (&'static str, &'static str);
    /// What is made for one box.
    const KINDS: &'static [&'static str];

    /// Makes its fake.
    fn fake(clock: &TestClock, behind: Behind) -> Self;

    /// Has nothing left of what is asked for by default.
    fn sell_out(&mut self);

    /// Returns what leads a twolane there.
    fn variables(url: &str) -> Vec<(&'static str, String)>;
}

impl Cloud for Aws {
    const NAME: &'static str = "aws";
    const COST_MAX: &'static str = "1 USD";
    const CREATE: (&'static str, &'static str) = ("POST /", "Action=RunInstances");
    const KINDS: &'static [&'static str] = &["machine", "disk", "interface", "firewall"];

    fn fake(clock: &TestClock, behind: Behind) -> Self {
        let mut fake = Self::new(clock);
        fake.behind = behind;
        fake.behaviour.boot = SHORT;
        fake.behaviour.leave = SHORT;
        fake
    }

    fn sell_out(&mut self) {
        for zone in ["us-east-1a", "us-east-1b"] {
            self.behaviour
                .failing
                .insert(zone, "InsufficientInstanceCapacity");
        }
    }

    fn variables(url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID", aws::KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
            ("AWS_ENDPOINT_URL_EC2", url.to_owned()),
        ]
    }
}

impl Cloud for Azure {
    const NAME: &'static str = "azure";
    const COST_MAX: &'static str = "1 USD";
    const CREATE: (&'static str, &'static str) = ("PUT /", "hardwareProfile");
    const KINDS: &'static [&'static str] = &["machine", "group"];

    fn fake(clock: &TestClock, behind: Behind) -> Self {
        let mut fake = Self::new(clock);
        fake.behind = behind;
        fake.behaviour.boot = SHORT;
        fake.behaviour.leave = SHORT;
        fake.behaviour.group_outlives = SHORT;
        fake
    }

    fn sell_out(&mut self) {
        let place = ("Standard_D4s_v5".to_owned(), "eastus".to_owned());
        self.behaviour.sold_out.insert(place);
    }

    fn variables(url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("AZURE_ACCESS_TOKEN", azure::TOKEN.to_owned()),
            ("AZURE_SUBSCRIPTION_ID", azure::SUBSCRIPTION.to_owned()),
            ("AZURE_RESOURCE_MANAGER_ENDPOINT", url.to_owned()),
        ]
    }
}

impl Cloud for Gcp {
    const NAME: &'static str = "gcp";
    const COST_MAX: &'static str = "1 USD";
    const CREATE: (&'static str, &'static str) = ("POST /compute/v1/", "user-data");
    const KINDS: &'static [&'static str] = &["machine", "disk", "firewall"];

    fn fake(clock: &TestClock, behind: Behind) -> Self {
        let mut fake = Self::new(clock);
        fake.behind = behind;
        fake.behaviour.insert = SHORT;
        fake.behaviour.boot = SHORT;
        fake.behaviour.leave = SHORT;
        fake
    }

    fn sell_out(&mut self) {
        for zone in ["us-central1-a", "us-central1-b", "us-central1-f"] {
            self.behaviour
                .failing
                .insert(zone, "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS");
        }
    }

    fn variables(url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("GOOGLE_OAUTH_ACCESS_TOKEN", gcp::TOKEN.to_owned()),
            ("GOOGLE_CLOUD_PROJECT", gcp::PROJECT.to_owned()),
            (
                "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE",
                format!("{url}/compute/v1/"),
            ),
        ]
    }
}

impl Cloud for Hetzner {
    const NAME: &'static str = "hetzner";
    const COST_MAX: &'static str = "1 EUR";
    const CREATE: (&'static str, &'static str) = ("POST /v1/servers", "");
    const KINDS: &'static [&'static str] = &["machine", "key", "firewall"];

    fn fake(clock: &TestClock, behind: Behind) -> Self {
        let mut fake = Self::new(clock);
        fake.behind = behind;
        fake.behaviour.boot = SHORT;
        fake.behaviour.leave = SHORT;
        fake
    }

    fn sell_out(&mut self) {
        self.behaviour.servers_max = 0;
    }

    fn variables(url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("HCLOUD_TOKEN", hetzner::TOKEN.to_owned()),
            ("HCLOUD_ENDPOINT", format!("{url}/v1")),
        ]
    }
}

impl Cloud for Latitude {
    const NAME: &'static str = "latitude";
    const COST_MAX: &'static str = "1 USD";
    const SYSTEM: &'static str = SYSTEM_WITH_FIREWALL;
    const CHECK: &'static str = CHECK_WITH_FIREWALL;
    const CREATE: (&'static str, &'static str) = ("POST /servers", "");
    const KINDS: &'static [&'static str] = &["machine", "key", "user-data"];

    fn fake(clock: &TestClock, behind: Behind) -> Self {
        let mut fake = Self::new(clock);
        fake.behind = behind;
        fake.behaviour.boot = SHORT;
        fake.behaviour.leave = SHORT;
        fake
    }

    fn sell_out(&mut self) {
        self.behaviour.stock.clear();
    }

    fn variables(url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("LATITUDESH_AUTH_TOKEN", latitude::TOKEN.to_owned()),
            ("LATITUDESH_ENDPOINT", url.to_owned()),
        ]
    }
}

impl Cloud for Ovh {
    const NAME: &'static str = "ovh";
    const COST_MAX: &'static str = "1 EUR";
    const SYSTEM: &'static str = SYSTEM_WITH_FIREWALL;
    const CHECK: &'static str = CHECK_WITH_FIREWALL;
    const CREATE: (&'static str, &'static str) = ("POST /1.0/cloud/project/", "userData");
    const KINDS: &'static [&'static str] = &["machine", "key"];

    fn fake(clock: &TestClock, behind: Behind) -> Self {
        let mut fake = Self::new(clock);
        fake.behind = behind;
        fake.behaviour.boot = SHORT;
        fake.behaviour.leave = SHORT;
        fake
    }

    fn sell_out(&mut self) {
        self.behaviour.runs_out = true;
    }

    fn variables(url: &str) -> Vec<(&'static str, String)> {
        let [application, secret, consumer] = ovh::KEYS;
        vec![
            ("OVH_ENDPOINT", format!("{url}/1.0")),
            ("OVH_APPLICATION_KEY", application.to_owned()),
            ("OVH_APPLICATION_SECRET", secret.to_owned()),
            ("OVH_CONSUMER_KEY", consumer.to_owned()),
            ("OVH_CLOUD_PROJECT_SERVICE", ovh::PROJECT.to_owned()),
        ]
    }
}

impl Cloud for Vultr {
    const NAME: &'static str = "vultr";
    const COST_MAX: &'static str = "1 USD";
    const CREATE: (&'static str, &'static str) = ("POST /v2/instances", "");
    const KINDS: &'static [&'static str] = &["machine", "key", "firewall"];

    fn fake(clock: &TestClock, behind: Behind) -> Self {
        let mut fake = Self::new(clock);
        fake.behind = behind;
        fake.behaviour.boot = SHORT;
        fake.behaviour.leave = SHORT;
        fake
    }

    fn sell_out(&mut self) {
        let place = ("vx1-g-4c-16g-240s".to_owned(), "ewr".to_owned());
        self.behaviour.sold_out.insert(place);
    }

    fn variables(url: &str) -> Vec<(&'static str, String)> {
        vec![
            ("VULTR_API_KEY", vultr::KEY.to_owned()),
            ("VULTR_API_ENDPOINT", format!("{url}/v2")),
        ]
    }
}

#[test]
fn a_run_on_aws_goes_from_the_create_call_to_the_receipt() {
    check::<Aws>();
}

#[test]
fn a_run_on_azure_goes_from_the_create_call_to_the_receipt() {
    check::<Azure>();
}

#[test]
fn a_run_on_gcp_goes_from_the_create_call_to_the_receipt() {
    check::<Gcp>();
}

#[test]
fn a_run_on_latitude_goes_from_the_create_call_to_the_receipt() {
    check::<Latitude>();
}

#[test]
fn a_run_on_ovh_goes_from_the_create_call_to_the_receipt() {
    check::<Ovh>();
}

#[test]
fn a_run_on_vultr_goes_from_the_create_call_to_the_receipt() {
    check::<Vultr>();
}

fn check<C: Cloud>() {
    let Some(cloud) = start::<C>() else { return };
    let lane = lane(&format!("\"{}\"", C::NAME), C::CHECK);
    let lane = format!("{lane}max-cost = \"{}\"\n", C::COST_MAX);
    let bench = Bench::with_system(C::SYSTEM, &lane);
    let bench = lead_to::<C>(bench, &cloud.fake);
    check_run(&cloud, bench);
}

#[test]
fn a_run_goes_from_one_cloud_to_the_next_until_one_has_a_box() {
    let Some(cloud) = start::<Hetzner>() else { return };
    let boxes = r#"
    { provider = "aws", region = "us-east-1" },
    { provider = "azure", region = "eastus" },
    { provider = "gcp", region = "us-central1-a" },
    "latitude",
    { provider = "ovh", region = "GRA11" },
    { provider = "vultr", region = "ewr" },
    "hetzner","#;
    let bench = Bench::with_system(SYSTEM, &lane(boxes, CHECK));
    let (bench, aws) = sold_out::<Aws>(&cloud, bench);
    let (bench, azure) = sold_out::<Azure>(&cloud, bench);
    let (bench, gcp) = sold_out::<Gcp>(&cloud, bench);
    let (bench, latitude) = sold_out::<Latitude>(&cloud, bench);
    let (bench, ovh) = sold_out::<Ovh>(&cloud, bench);
    let (bench, vultr) = sold_out::<Vultr>(&cloud, bench);
    let bench = lead_to::<Hetzner>(bench, &cloud.fake);
    let (events, receipt) = check_run(&cloud, bench);

    let rejected = events.iter().filter(|event| is(event, "candidate-rejected"));
    let rejected: Vec<_> = rejected.map(|event| &event["candidate"]["provider"]).collect();
    assert_eq!(rejected, ["aws", "azure", "gcp", "latitude", "ovh", "vultr"]);
    let asked = receipt["boxes"][0]["asked"].as_array().unwrap();
    let answers: Vec<_> = asked.iter().map(|asked| &asked["answer"]["answer"]).collect();
    assert_eq!(answers[..6], ["refused"; 6], "{receipt:#}");
    assert_eq!(answers[6..], ["created"], "{receipt:#}");
    let left = [
        aws.names(),
        azure.names(),
        gcp.names(),
        latitude.names(),
        ovh.names(),
        vultr.names(),
    ];
    assert_eq!(left.concat(), Vec::<String>::new());
}

fn start<C: Cloud>() -> Option<RealCloud<C>> {
    let clock = TestClock::default();
    RealCloud::start(|behind| C::fake(&clock, behind))
}

/// Puts a cloud that has nothing left beside the one that boots real boxes.
fn sold_out<C: Cloud>(beside: &RealCloud<Hetzner>, bench: Bench) -> (Bench, Fake<C>) {
    let mut fake = C::fake(&TestClock::default(), Behind::default());
    fake.sell_out();
    let fake = beside.serve(fake);
    (lead_to(bench, &fake), fake)
}

fn lead_to<C: Cloud>(bench: Bench, fake: &Fake<C>) -> Bench {
    let variables = C::variables(&fake.url).into_iter();
    variables.fold(bench, |bench, (name, value)| bench.with_env(name, &value))
}

fn lane(boxes: &str, check: &str) -> String {
    format!(
        "[lanes.cheap]\nboxes = [{boxes}]\nttl = \"40m\"\n\
         checks = [{{ name = \"source is there\", run = \"{check}\" }}]\n"
    )
}

/// Runs to the end, and finds that one box was made for it at this cloud, and nothing left. Returns the events and the
/// receipt.
fn check_run<C: Cloud>(cloud: &RealCloud<C>, bench: Bench) -> (Vec<Value>, Value) {
    let bench = bench.with_env("TWOLANE_ALLOW_CIDR", OPERATOR);
    cloud.make_boxes_for(&bench);
    let (status, events) = bench.start(&["run"]).finish();
    assert_eq!(status.code(), Some(0), "{}", bench.output(&["report"]).1);
    let up = events.iter().find(|event| is(event, "machine-up")).unwrap();
    assert_eq!(up["machine"]["provider"], C::NAME);
    assert_eq!(up["machine"]["port"], 22);
    let output = fs::read_to_string(&bench.files_ending("checks/source-is-there.log")[0]).unwrap();
    assert_eq!(output, "dev\nhello from here\n");

    let (call, body) = C::CREATE;
    assert_eq!(cloud.fake.count_in_body(call, body), 1, "{call} {body}");
    // An address outlives its server by a moment, as the real ones do.
    wait_until("nothing is left at the provider", || {
        cloud.fake.names().is_empty()
    });
    let (code, text) = bench.output(&["report", "--format", "receipt"]);
    let receipt: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &receipt["is_settled"]), (0, &Value::Bool(true)), "{text}");
    let resources = receipt["boxes"][0]["resources"].as_array().unwrap();
    for kind in C::KINDS {
        let made = resources.iter().find(|made| made["kind"] == *kind);
        assert!(
            made.is_some_and(|made| made["gone"].is_string()),
            "{kind}: {text}"
        );
    }
    cloud.assert_nothing_left();
    bench.assert_nothing_left();
    (events, receipt)
}
