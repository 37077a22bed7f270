//! The API part of clouds, with 100 ms for each answer: one box up and down against the vendor's own Python client, and a
//! list of 1,000 boxes in 20 regions. `cargo bench -p providers --bench clouds`; `PYTHON` names one that has `hcloud`.

#![expect(clippy::print_stdout, reason = "what is measured is printed")]
#![expect(dead_code, reason = "the fakes can do more than is measured")]

#[path = "../tests/fakes/mod.rs"]
mod fakes;
#[path = "../tests/clouds/orders.rs"]
mod orders;

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use engine::cloud::Cloud;
use model::{machine::ResourceKind, selector::Selector, world::Provider};
use providers::{
    aws::{self, Aws, Identity},
    contract::Reports,
    hetzner::{self, Hetzner},
};

use crate::{
    fakes::{
        aws::{Aws as FakeAws, KEY_ID},
        clock::TestClock,
        hetzner::{Hetzner as FakeHetzner, TOKEN},
        server::Fake,
    },
    orders::{label, order, run},
};

const LATENCY: Duration = Duration::from_millis(100);

/// The same calls by the vendor's client, one after the other.
const THEIRS: &str = r#"
import sys, time
from hcloud import Client
from hcloud.firewalls.domain import FirewallRule
from hcloud.images.domain import Image
from hcloud.locations.domain import Location
from hcloud.server_types.domain import ServerType
client = Client(token=sys.argv[2], api_endpoint=sys.argv[1])
tags = {"mvm-ephemeral": "true", "mvm-label": "box-2"}
select = "mvm-ephemeral=true,mvm-label=box-2"
began = time.monotonic()
assert client.servers.get_by_name("box-2") is None
key = client.ssh_keys.create(name="box-2", public_key="ssh-ed25519 AAAAtheirs", labels=tags)
rule = FirewallRule(direction="in", protocol="tcp", port="22", source_ips=["203.0.113.7/32"])
firewall = client.firewalls.create(name="box-2", rules=[rule], labels=tags).firewall
made = client.servers.create(name="box-2", server_type=ServerType(name="cx43"), image=Image(name="ubuntu-24.04"),
    location=Location(name="nbg1"), ssh_keys=[key], firewalls=[firewall], labels=tags)
server = client.servers.get_by_id(made.server.id)
def listed():
    lists = [client.servers, client.ssh_keys, client.firewalls, client.primary_ips, client.volumes]
    return sum(len(one.get_all(label_selector=select)) for one in lists)
assert listed() == 3
server.delete()
assert listed() == 2
firewall.delete()
key.delete()
assert listed() == 0
print(time.monotonic() - began)
"#;

#[tokio::main]
async fn main() {
    up_and_down().await;
    list().await;
    println!("memory at most, the fakes included: {}", memory());
}

async fn up_and_down() {
    let clock = TestClock::new();
    let mut api = FakeHetzner::new(&clock);
    api.spec = None;
    api.behaviour.list_lag = Duration::ZERO;
    api.behaviour.boot = Duration::ZERO;
    api.behaviour.leave = Duration::ZERO;
    api.behaviour.address_outlives = Some(Duration::ZERO);
    let fake = Fake::serve(api).await;
    fake.set_latency(LATENCY);
    let endpoint = format!("{}/v1", fake.url);
    let access = hetzner::Access {
        token: TOKEN.to_owned(),
        endpoint: Some(endpoint.clone()),
        log: None,
        time_max: None,
    };
    let cloud = Cloud::new(
        Arc::new(Hetzner::new(access).expect("an endpoint")),
        Arc::new(clock.clone()),
    );
    let order = order(("hetzner", "cx43", "nbg1"), &label("box-1"), &run("r1"), &clock);
    let began = Instant::now();
    cloud.up(&order, &Reports::default()).await.expect("up");
    cloud
        .down(&Selector::Label(label("box-1")), &Reports::default())
        .await
        .expect("down");
    let ours = began.elapsed();
    println!(
        "hetzner, up and down: {:.2} s in {} calls",
        ours.as_secs_f64(),
        fake.calls().len()
    );
    let calls = fake.calls().len();
    let python = std::env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let theirs = tokio::task::spawn_blocking(move || {
        Command::new(python)
            .args(["-c", THEIRS, &endpoint, TOKEN])
            .output()
    });
    let output = theirs.await.expect("it runs").expect("python3 is there");
    let Ok(theirs) = String::from_utf8_lossy(&output.stdout).trim().parse::<f64>() else {
        println!(
            "the vendor's client did not run: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        return;
    };
    println!(
        "the vendor's Python client: {theirs:.2} s in {} calls",
        fake.calls().len() - calls
    );
    println!("ratio: {:.2} (aim: under 0.5)", ours.as_secs_f64() / theirs);
}

async fn list() {
    let clock = TestClock::new();
    let mut api = FakeAws::new(&clock);
    api.model = None;
    api.behaviour.list_lag = Duration::ZERO;
    let number = |index: usize| format!("eu-test-{index}");
    api.behaviour.regions = (0..20).map(number).collect();
    for index in 0..1000 {
        let name = format!("box-{index}");
        let tags = order(
            ("aws", "c8i.xlarge", "us-east-1"),
            &label(&name),
            &run("r1"),
            &clock,
        )
        .tags
        .pairs();
        api.plant(&name, &number(index % 20), &tags);
    }
    // Some of the calls are refused at first, as a busy account sees it.
    api.behaviour.throttled = 1;
    let fake = Fake::serve(api).await;
    fake.set_latency(LATENCY);
    let access = aws::Access {
        identity: Arc::new(Identity::fixed(KEY_ID, "secret-secret")),
        ca_bundle: None,
        region: None,
        group: None,
        subnet: None,
        endpoint: Some(fake.url.clone()),
        log: None,
        time_max: None,
    };
    let cloud = Cloud::new(Arc::new(Aws::new(access).expect("an endpoint")), Arc::new(clock));
    let began = Instant::now();
    let listed = cloud.listing().expect("it lists").list().await.expect("a list");
    let took = began.elapsed();
    let boxes = listed
        .iter()
        .filter(|listed| listed.kind == ResourceKind::Machine)
        .count();
    println!(
        "aws, list of {boxes} boxes ({} things) in 20 regions: {:.2} s in {} calls (aim: under 3 s)",
        listed.len(),
        took.as_secs_f64(),
        fake.calls().len()
    );
}

fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("not known here".to_owned(), |line| line.trim().to_owned())
}
