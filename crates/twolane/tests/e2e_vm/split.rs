//! End to end on `local`: which tests of the sample ask for `/dev/kvm`, found out in a box that has one and a box that has
//! none; and a run that fails as no lane really ran them. `cargo nextest run --profile e2e`.

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use crate::support::{Bench, SYSTEM, is};

const LANES: &str = r#"
[lanes.no-kvm]
kvm = "none"
boxes = ["local"]
ttl = "1h"
fail-on-skip = true
checks = [{ name = "live tests", run = "cargo test -p mvm-runtime" }]

[lanes.live-kvm]
kvm = "required"
boxes = ["local"]
ttl = "1h"
checks = [{ name = "live tests", run = "cargo test -p mvm-runtime --test live_kvm" }]
"#;

const LIVE: [&str; 3] = [
    "a_guest_that_reaches_beyond_its_memory_is_stopped",
    "guest_code_runs_and_leaves_what_it_wrote",
    "guests_do_not_see_each_other",
];

fn sample() -> Bench {
    let sample = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../samples/mvm");
    let text = format!("[project]\nname = \"mvm\"\n\n[sources]\nmvm = {{ path = \".\" }}\n{SYSTEM}\n{LANES}");
    Bench::copy_of(&sample, &text)
}

/// Returns the names of the tests that ended so in a lane.
fn judged<'a>(split: &'a Value, lane: &str, judged: &str) -> BTreeSet<&'a str> {
    let tests = split["tests"].as_array().unwrap().iter();
    tests
        .filter(|test| test["lanes"][lane]["judged"] == judged)
        .map(|test| test["test"].as_str().unwrap())
        .collect()
}

#[test]
fn the_tests_that_use_kvm_are_found_and_those_that_pass_without_it_are_named() {
    let bench = sample();
    let (status, events) = bench.start(&["split"]).finish();
    let split = events.iter().find(|event| is(event, "split")).unwrap_or_else(|| {
        panic!("no split: {}", bench.output(&["report"]).1);
    });
    let live: BTreeSet<&str> = LIVE.into();
    assert_eq!(judged(split, "live-kvm", "used"), live, "{split:#}");
    assert_eq!(judged(split, "no-kvm", "silent-skip"), live, "{split:#}");
    assert_eq!(split["tests"].as_array().unwrap().len(), LIVE.len(), "{split:#}");
    assert!(split["need_nothing"].as_array().unwrap().len() > 20, "{split:#}");
    for test in split["tests"].as_array().unwrap() {
        assert_eq!(test["binary"], "mvm-runtime::live_kvm");
        assert_eq!(test["half"], "live");
        let did = &test["lanes"]["live-kvm"]["devices"][0];
        assert_eq!(
            (&did["path"], &did["request"]),
            (&Value::from("/dev/kvm"), &Value::from("KVM_CREATE_VM"))
        );
    }
    // Some lane really ran each of them, so that nothing fails.
    assert_eq!(split["skipped"], Value::Array(vec![]));
    assert_eq!(split["proposal"]["live"], "binary_id(=mvm-runtime::live_kvm)");
    assert_eq!(status.code(), Some(0), "{split:#}");
    bench.assert_nothing_left();
}

#[test]
fn a_run_whose_tests_skip_themselves_fails_and_says_why() {
    let bench = sample();
    let (code, text) = bench.output(&["run", "no-kvm"]);
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("fail-on-skip: 3 tests that no lane really ran"),
        "{text}"
    );
    for name in LIVE {
        assert!(
            text.contains(&format!("{name}: no-kvm: silent skip: /dev/kvm: open: ")),
            "{text}"
        );
    }
    bench.assert_nothing_left();
}
