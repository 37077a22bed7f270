//! EC2 against the moto server, which somebody else wrote: the wire format and the happy path, for a nested and a metal
//! type. What moto does not do (client tokens, processor options, dependencies) is the fake's part.

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use engine::cloud::Cloud;
use model::{lane::KvmNeed, machine::ResourceKind, order::Order, selector::Selector, world::Provider};
use providers::{
    aws::{Access, Aws, Identity},
    contract::Reports,
};
use serde_json::json;

use crate::{
    fakes::clock::TestClock,
    orders::{self, label, run},
};

/// A moto server on loopback, for as long as it is held.
struct Moto {
    child: Child,
    port: u16,
    _images: tempfile::NamedTempFile,
}

impl Moto {
    /// Starts the server. None, and loudly so, when it is not installed.
    async fn start() -> Option<Self> {
        let images = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(
            &images,
            json!([ubuntu("amd64", "x86_64"), ubuntu("arm64", "arm64")]).to_string(),
        )
        .unwrap();
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let program = std::env::var_os("TWOLANE_MOTO_SERVER").unwrap_or_else(|| "moto_server".into());
        let started = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_AMIS_PATH", images.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            #[expect(
                clippy::print_stderr,
                reason = "a check that did not take place is said out loud"
            )]
            {
                eprintln!(
                    "SKIPPED: no moto_server is installed (`pip install moto[ec2,server]`), so EC2 was not run against it"
                );
            }
            return None;
        };
        let mut moto = Self {
            child,
            port,
            _images: images,
        };
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            assert_eq!(moto.child.try_wait().unwrap(), None, "moto_server ended at once");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Some(moto)
    }

    fn cloud(&self) -> Cloud<Aws> {
        let api = Aws::new(Access {
            identity: Arc::new(Identity::fixed("AKIDEXAMPLE", "secret-secret-secret")),
            ca_bundle: None,
            region: None,
            group: None,
            subnet: None,
            endpoint: Some(format!("http://127.0.0.1:{}", self.port)),
            log: None,
            time_max: None,
        });
        Cloud::new(Arc::new(api.unwrap()), Arc::new(TestClock::new()))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns an image as moto's catalogue has it, under the name and owner of the real one.
fn ubuntu(word: &str, architecture: &str) -> serde_json::Value {
    json!({
        "ami_id": format!("ami-0{word}"), "state": "available", "public": true, "owner_id": "099720109477",
        "image_location": "amazon/ubuntu", "sriov": "simple", "root_device_type": "ebs", "root_device_name": "/dev/sda1",
        "description": "Canonical, Ubuntu, 24.04", "image_type": "machine", "platform": null, "architecture": architecture,
        "name": format!("ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{word}-server-20261102"),
        "virtualization_type": "hvm", "hypervisor": "xen",
    })
}

async fn up_and_down(cloud: &Cloud<Aws>, instance_type: &str, need: KvmNeed) {
    let mut order = orders::order(
        ("aws", instance_type, "eu-central-1"),
        &label("box-1"),
        &run("r1"),
        &TestClock::new(),
    );
    order.candidate.options.spot = need == KvmNeed::Required;
    let team = ("team".to_owned(), "ci".to_owned());
    order.candidate.options.tags.extend([team]);
    let machine = cloud
        .up(
            &Order {
                need,
                ..order.clone()
            },
            &Reports::default(),
        )
        .await
        .unwrap();
    assert_eq!(
        (machine.instance_type.as_str(), machine.region.as_str()),
        (instance_type, "eu-central-1")
    );
    let again = cloud
        .up(
            &Order {
                need,
                ..order.clone()
            },
            &Reports::default(),
        )
        .await
        .unwrap();
    assert_eq!(again.id, machine.id, "it is adopted");
    let listed = cloud.listing().unwrap().list().await.unwrap();
    let found = listed
        .iter()
        .find(|listed| listed.kind == ResourceKind::Machine)
        .unwrap();
    assert_eq!((&found.id, found.tags.as_ref()), (&machine.id, Some(&order.tags)));
    assert!(
        listed.iter().any(|listed| listed.kind == ResourceKind::Firewall),
        "{listed:?}"
    );
    assert!(
        !cloud
            .console()
            .unwrap()
            .console(&label("box-1"))
            .await
            .unwrap()
            .is_empty()
    );
    cloud
        .down(&Selector::Label(label("box-1")), &Reports::default())
        .await
        .unwrap();
    assert_eq!(cloud.listing().unwrap().list().await.unwrap(), []);
    assert_eq!(
        cloud.down(&Selector::AllOurs, &Reports::default()).await.unwrap(),
        []
    );
}

/// One server for all: moto sets up each region when it is asked first, which takes longest.
#[tokio::test]
async fn boxes_come_and_go_at_moto() {
    let Some(moto) = Moto::start().await else { return };
    let cloud = moto.cloud();
    let preflight = cloud.preflight().unwrap();
    let findings = preflight.preflight("c8i.xlarge", "eu-central-1", KvmNeed::Required);
    let findings = findings.await;
    let permission = findings.iter().find(|finding| finding.what == "permission");
    let found = &permission.unwrap().found;
    assert_eq!(found, "the credentials may create a box and its firewall");
    assert_eq!(
        cloud.listing().unwrap().list().await.unwrap(),
        [],
        "a dry run makes nothing"
    );
    up_and_down(&cloud, "c8i.xlarge", KvmNeed::Required).await;
    up_and_down(&cloud, "c5.metal", KvmNeed::Metal).await;
    let order = orders::order(
        ("aws", "c5.xlarge", "eu-central-1"),
        &label("box-2"),
        &run("r1"),
        &TestClock::new(),
    );
    let refusal = cloud
        .up(
            &Order {
                need: KvmNeed::Required,
                ..order
            },
            &Reports::default(),
        )
        .await
        .unwrap_err();
    assert_eq!(refusal.kind, model::error::ErrorKind::NoKvm);
    let help = refusal.help.unwrap();
    assert!(
        help.contains("c8i.xlarge"),
        "it asks moto, whose list of types is the real one: {help}"
    );
}
