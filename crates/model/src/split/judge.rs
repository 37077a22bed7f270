//! Judges each test from the records of all lanes, and finds those that no lane really ran.

use std::collections::BTreeMap;

use super::{
    Baseline, Half, InLane, Judged, LaneSplit, Record, Run, Skipped, Split, TestId, TestRecord, TestSplit,
    device::{Attempt, Device},
};
use crate::lane::KvmNeed;

/// Tests that are named in a sentence.
const NAMED_MAX: usize = 5;

/// What the checks of one lane left.
#[derive(Debug, Clone, Default)]
pub struct LaneRecords {
    /// The lane.
    pub name: String,
    /// What it asks of its box.
    pub need: KvmNeed,
    /// Whether a test of it that no lane really ran fails the run.
    pub fails_on_skip: bool,
    /// The records of its checks.
    pub records: Vec<Record>,
    /// Why there is no record of a check, with its name.
    pub missing: Vec<String>,
}

/// Judges each test in each lane, and the run.
pub fn judge(lanes: &[LaneRecords], baseline: &Baseline) -> Split {
    let mut tests: BTreeMap<&TestId, BTreeMap<String, InLane>> = BTreeMap::new();
    let mut split = Split::default();
    for lane in lanes {
        let reported = of_lane(lane);
        let mut counts = BTreeMap::new();
        for (id, in_lane) in reported {
            *counts.entry(in_lane.judged).or_default() += 1;
            tests.entry(id).or_default().insert(lane.name.clone(), in_lane);
        }
        let doubts = lane.records.iter().flat_map(Record::doubts);
        let doubts: std::collections::BTreeSet<String> = lane.missing.iter().cloned().chain(doubts).collect();
        split.lanes.insert(
            lane.name.clone(),
            LaneSplit {
                need: lane.need,
                counts,
                has_kvm: lane.records.iter().any(|record| record.has_kvm),
                doubts: doubts.into_iter().collect(),
            },
        );
    }
    for (id, lanes) in tests {
        if lanes.values().all(|lane| lane.judged == Judged::NeedsNothing) {
            split.need_nothing.push(id.to_string());
            continue;
        }
        let half = half(&lanes);
        let id = id.clone();
        split.tests.push(TestSplit { id, half, lanes });
    }
    split.skipped = skipped(&split.tests, baseline);
    split.gone = baseline.without(split.skipped.iter().map(|skipped| &skipped.id));
    split.why_failed = why_failed(&split, lanes);
    split
}

/// Returns what became of each test of a lane; of several checks the best counts.
fn of_lane(lane: &LaneRecords) -> BTreeMap<&TestId, InLane> {
    let mut all: BTreeMap<&TestId, InLane> = BTreeMap::new();
    for (id, seen) in lane.records.iter().flat_map(|record| &record.tests) {
        let in_lane = one(seen);
        match all.get_mut(id) {
            Some(known) if known.judged <= in_lane.judged => {}
            Some(known) => *known = in_lane,
            None => {
                all.insert(id, in_lane);
            }
        }
    }
    all
}

fn one(seen: &TestRecord) -> InLane {
    let not_run = |judged| InLane {
        judged,
        devices: Vec::new(),
        seconds: None,
    };
    let (code, seconds, devices) = match &seen.run {
        None if seen.is_ignored => return not_run(Judged::Ignored),
        None => return not_run(Judged::NotRun),
        Some(Run::Begun) => return not_run(Judged::Failed),
        Some(Run::Ended {
            code,
            seconds,
            devices,
        }) => (*code, *seconds, devices),
    };
    let judged = match devices {
        _ if code != 0 => Judged::Failed,
        None => Judged::Untraced,
        Some(devices) => of_devices(devices),
    };
    InLane {
        judged,
        devices: devices.clone().unwrap_or_default(),
        seconds: Some(seconds),
    }
}

/// Judges a test that passed. One that got any device did something with it: what it lacks beside that it can do without.
fn of_devices(devices: &[Device]) -> Judged {
    let is_used = |device: &Device| matches!(device.attempt, Attempt::Opened | Attempt::Driven { .. });
    if devices.is_empty() {
        Judged::NeedsNothing
    } else if devices.iter().any(is_used) {
        Judged::Used
    } else if devices.iter().any(|device| !device.is_got()) {
        Judged::SilentSkip
    } else {
        Judged::Looked
    }
}

/// Decides where a test belongs. A device that any box has, such as `/dev/net/tun`, asks for a special box only where it was lacking.
fn half(lanes: &BTreeMap<String, InLane>) -> Half {
    let needs_a_host = |device: &Device| !device.is_got() || !device.path.starts_with("/dev/net/");
    let is_live = lanes.values().any(|lane| lane.devices.iter().any(needs_a_host));
    if is_live { Half::Live } else { Half::Any }
}

fn skipped(tests: &[TestSplit], baseline: &Baseline) -> Vec<Skipped> {
    let skipped = tests.iter().filter(|test| test.is_skipped());
    skipped
        .map(|test| Skipped {
            id: test.id.clone(),
            why: test.words(),
            is_known: baseline.has(&test.id),
        })
        .collect()
}

/// Says why the run fails. What is not known fails it too: it may be a skip.
fn why_failed(split: &Split, lanes: &[LaneRecords]) -> Vec<String> {
    let strict: Vec<&LaneRecords> = lanes.iter().filter(|lane| lane.fails_on_skip).collect();
    let mut why = Vec::new();
    for lane in &strict {
        let doubts = split.lanes.get(&lane.name).map(|lane| lane.doubts.as_slice());
        for doubt in doubts.unwrap_or_default() {
            why.push(format!(
                "{}: not known which tests really ran: {doubt}",
                lane.name
            ));
        }
    }
    let is_strict = |test: &&TestSplit| strict.iter().any(|lane| test.lanes.contains_key(&lane.name));
    let seen: std::collections::BTreeSet<&TestId> = split
        .tests
        .iter()
        .filter(is_strict)
        .map(|test| &test.id)
        .collect();
    let new: Vec<String> = split
        .new_skips()
        .filter(|skipped| seen.contains(&skipped.id))
        .map(|skipped| skipped.id.to_string())
        .collect();
    if !new.is_empty() {
        let named = new.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
        let more = match new.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let tests = if new.len() == 1 {
            "1 test that"
        } else {
            &format!("{} tests that", new.len())
        };
        why.push(format!("fail-on-skip: {tests} no lane really ran: {named}{more}"));
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = r#"open("/dev/kvm", O_RDWR) = -1 ENOENT (x)"#;
    const MADE: &str = "ioctl(3</dev/kvm>, KVM_CREATE_VM, 0) = 4";
    const SEEN: &str = r#"stat("/dev/kvm", 0x1) = 0"#;
    const TUN: &str = r#"open("/dev/net/tun", O_RDWR) = 3</dev/net/tun>"#;
    const NO_TUN: &str = r#"open("/dev/net/tun", O_RDWR) = -1 EPERM (x)"#;

    /// Each test is `NAME HOW`: `ok`, `fails`, `kvm`, `no-kvm`, `sees`, `tun`, `no-tun`, `fails-without`, `ignored` or `listed`.
    fn lane(name: &str, fails_on_skip: bool, tests: &[&str]) -> LaneRecords {
        let mut text = "{\"what\":\"begin\",\"v\":1,\"why\":\"\"}\n".to_owned();
        for test in tests {
            let (test, how) = test.split_once(' ').unwrap();
            let ignored = how == "ignored";
            text += &format!(
                "{{\"what\":\"listed\",\"binary\":\"b\",\"test\":\"{test}\",\"ignored\":{ignored}}}\n"
            );
            let (code, trace) = match how {
                "ok" => (0, None),
                "fails" => (101, None),
                "kvm" => (0, Some(MADE)),
                "no-kvm" => (0, Some(REFUSED)),
                "fails-without" => (101, Some(REFUSED)),
                "sees" => (0, Some(SEEN)),
                "tun" => (0, Some(TUN)),
                "no-tun" => (0, Some(NO_TUN)),
                _ => continue,
            };
            let trace = serde_json::to_string(&trace.into_iter().collect::<Vec<_>>()).unwrap();
            text += &format!(
                "{{\"what\":\"ended\",\"binary\":\"b\",\"test\":\"{test}\",\"code\":{code},\"micros\":1,\"trace\":{trace}}}\n"
            );
        }
        text += "{\"what\":\"end\",\"code\":0}\n";
        LaneRecords {
            name: name.to_owned(),
            fails_on_skip,
            records: vec![Record::read(&text)],
            ..LaneRecords::default()
        }
    }

    /// Reports the tests that no lane really ran.
    #[track_caller]
    fn check(cheap: &[&str], live: &[&str], expected: &[&str]) -> Split {
        let split = judge(
            &[lane("cheap", false, cheap), lane("live", false, live)],
            &Baseline::default(),
        );
        let reported: Vec<String> = split
            .skipped
            .iter()
            .map(|skipped| skipped.id.to_string())
            .collect();
        assert_eq!(reported, expected);
        split
    }

    #[test]
    fn a_test_that_some_lane_really_ran_is_no_skip() {
        check(&["a no-kvm"], &["a kvm"], &[]);
        check(&["a no-kvm"], &["a sees"], &[]);
        check(&["a no-kvm"], &["a fails"], &[]);
        check(&["a ok"], &[], &[]);
        check(&["a ignored"], &["a ok"], &[]);
        check(&["a listed"], &["a ok"], &[]);
    }

    #[test]
    fn a_test_that_passes_without_what_it_asks_for_is_a_silent_skip() {
        let split = check(&["a no-kvm", "b ok"], &["b ok"], &["b a"]);
        assert_eq!(split.skipped[0].why, "cheap: silent skip: /dev/kvm: open: ENOENT");
        assert_eq!(split.need_nothing, ["b b"]);
        check(&["a no-kvm"], &["a ignored"], &["b a"]);
        check(&["a ignored", "b listed"], &["a listed"], &["b a", "b b"]);
    }

    #[test]
    fn a_test_belongs_where_what_it_asks_for_is() {
        let half = |cheap: &[&str], live: &[&str]| {
            let split = judge(
                &[lane("cheap", false, cheap), lane("live", false, live)],
                &Baseline::default(),
            );
            split.tests[0].half
        };
        assert_eq!(half(&["a no-kvm"], &["a kvm"]), Half::Live);
        assert_eq!(half(&["a fails-without"], &["a kvm"]), Half::Live);
        assert_eq!(half(&["a kvm"], &["a kvm"]), Half::Live);
        assert_eq!(half(&["a tun"], &["a tun"]), Half::Any);
        assert_eq!(half(&["a no-tun"], &["a tun"]), Half::Live);
        assert_eq!(half(&["a fails"], &["a ok"]), Half::Any);
    }

    #[test]
    fn a_failure_for_want_of_a_device_is_distinguished() {
        let split = check(&["a fails-without", "b fails"], &["a kvm", "b ok"], &[]);
        let failed: Vec<String> = split.failed().map(|test| test.id.to_string()).collect();
        assert_eq!(failed, ["b b"]);
    }

    #[test]
    fn only_a_lane_that_asks_for_it_fails_for_a_skip() {
        let why = |strict: bool, tests: &[&str], baseline: &str| {
            judge(
                &[lane("cheap", strict, tests), lane("live", false, &["b ok"])],
                &Baseline::read(baseline),
            )
            .why_failed
        };
        assert_eq!(why(false, &["a no-kvm"], ""), Vec::<String>::new());
        assert_eq!(why(true, &["a ok"], ""), Vec::<String>::new());
        assert_eq!(
            why(true, &["a no-kvm"], ""),
            ["fail-on-skip: 1 test that no lane really ran: b a"]
        );
        assert_eq!(why(true, &["a no-kvm"], "b a\n"), Vec::<String>::new());
        let many: Vec<String> = (0..7).map(|number| format!("t{number} ignored")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(why(true, &many, "")[0].ends_with("and 2 more"));
    }

    #[test]
    fn what_is_not_known_fails_a_strict_lane() {
        let mut strict = lane("cheap", true, &["a ok"]);
        strict.missing.push("test: no record came back".to_owned());
        let split = judge(&[strict], &Baseline::default());
        assert_eq!(
            split.why_failed,
            ["cheap: not known which tests really ran: test: no record came back"]
        );
    }

    #[test]
    fn what_the_baseline_has_and_is_no_skip_any_more_is_reported() {
        let split = judge(
            &[lane("cheap", true, &["a no-kvm", "c ok"])],
            &Baseline::read("b a\nb c\nb gone\n"),
        );
        assert_eq!(split.gone, ["b c", "b gone"]);
        assert!(split.skipped[0].is_known);
    }
}
