//! The whole flow on Hetzner: its API answers from the fake, SSH leads into a real VM.

use std::fs;

use serde_json::Value;

use crate::{
    fakes::{
        clock::TestClock,
        hetzner::{Hetzner, TOKEN},
    },
    real_boxes::RealCloud,
    support::{Bench, is, wait_until},
};

const LANES: &str = r#"
[lanes.cheap]
boxes = ["hetzner"]
ttl = "40m"
max-cost = "1 EUR"
checks = [{ name = "source is there", run = "id -un && cat hello.txt" }]
"#;

#[test]
fn a_run_on_hetzner_goes_from_the_create_call_to_the_receipt() {
    let clock = TestClock::default();
    let cloud = RealCloud::start(|boxes| {
        let mut fake = Hetzner::new(&clock);
        fake.boxes = Some(boxes);
        fake
    });
    let Some(cloud) = cloud else { return };
    let bench = Bench::new(LANES)
        .with_env("HCLOUD_TOKEN", TOKEN)
        .with_env("HCLOUD_ENDPOINT", &format!("{}/v1", cloud.fake.url))
        .with_env("TWOLANE_ALLOW_CIDR", "203.0.113.7");
    cloud.serve(&bench);

    let (status, events) = bench.start(&["run"]).finish();
    assert_eq!(status.code(), Some(0), "{}", bench.output(&["report"]).1);
    let up = events.iter().find(|event| is(event, "machine-up")).unwrap();
    assert_eq!(up["machine"]["provider"], "hetzner");
    assert_eq!(up["machine"]["port"], 22);
    let output = fs::read_to_string(&bench.files_ending("checks/source-is-there.log")[0]).unwrap();
    assert_eq!(output, "mvm\nhello from here\n");

    for made in ["POST /v1/servers", "POST /v1/ssh_keys", "POST /v1/firewalls"] {
        assert_eq!(cloud.fake.count(made), 1, "{made}");
    }
    // An address outlives its server by a moment, as the real ones do.
    wait_until("nothing is left at the provider", || {
        cloud.fake.api().names().is_empty()
    });
    let (code, text) = bench.output(&["report", "--format", "receipt"]);
    let receipt: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &receipt["is_settled"]), (0, &Value::Bool(true)), "{text}");
    let resources = receipt["boxes"][0]["resources"].as_array().unwrap();
    for kind in ["machine", "key", "firewall"] {
        let made = resources.iter().find(|made| made["kind"] == kind);
        assert!(
            made.is_some_and(|made| made["gone"].is_string()),
            "{kind}: {text}"
        );
    }
    cloud.assert_nothing_left();
    bench.assert_nothing_left();
}
