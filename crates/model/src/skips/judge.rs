//! Judges each test from the records of all lanes, and finds those that no lane really ran.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{
    Baseline, Half, InLane, Judged, LaneSplit, Record, Run, Skipped, Split, TestId, TestRecord, TestSplit,
    device::{Attempt, Device},
};
use crate::{
    lane::KvmNeed,
    report::Report,
    results::{TestOutcome, is_same_suite},
};

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
    /// Whether its check runs a whole suite for the sake of the record, and so passes whatever its tests do.
    pub is_suite: bool,
    /// The records of its checks.
    pub records: Vec<Record>,
    /// Why there is no record of a check, with its name.
    pub missing: Vec<String>,
}

impl LaneRecords {
    /// Returns how the records spell the binaries of their tests.
    pub fn spelling(&self) -> Spelling<'_> {
        let mut by_test: HashMap<&str, BTreeSet<&str>> = HashMap::new();
        for id in self.records.iter().flat_map(|record| record.tests.keys()) {
            if let Some(test) = &id.test {
                by_test.entry(test).or_default().insert(&id.binary);
            }
        }
        Spelling(by_test)
    }
}

/// How a lane's records spell the binaries of their tests.
#[derive(Debug)]
pub struct Spelling<'a>(HashMap<&'a str, BTreeSet<&'a str>>);

impl Spelling<'_> {
    /// Returns how the records spell a test's binary; none where they do not have it, or more than one that it can be.
    pub fn of(&self, suite: &str, test: &str) -> Option<&str> {
        let binaries = self.0.get(test)?.iter().copied();
        let mut same = binaries.filter(|binary| is_same_suite(binary, suite));
        let first = same.next()?;
        same.next().is_none().then_some(first)
    }
}

/// Judges each test in each lane, and the run.
pub fn judge(lanes: &[LaneRecords], baseline: &Baseline) -> Split {
    let mut tests: BTreeMap<&TestId, BTreeMap<String, InLane>> = BTreeMap::new();
    let mut split = Split::default();
    for lane in lanes {
        for (id, in_lane) in of_lane(lane) {
            tests.entry(id).or_default().insert(lane.name.clone(), in_lane);
        }
    }
    tests.values_mut().for_each(excuse_lookers);
    tests.values_mut().for_each(expose_early_returns);
    for lane in lanes {
        let mut counts = BTreeMap::new();
        for in_lane in tests.values().filter_map(|lanes| lanes.get(&lane.name)) {
            *counts.entry(in_lane.judged).or_default() += 1;
        }
        let doubts = lane.records.iter().flat_map(Record::doubts);
        let doubts: BTreeSet<String> = lane.missing.iter().cloned().chain(doubts).collect();
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
    let of_suites = lanes.iter().filter(|lane| split.has_failed_in(lane)).map(|lane| {
        let failed = split.failed_of(&lane.name).count();
        format!(
            "{}: {failed} failed in a box that had what they asked for",
            lane.name
        )
    });
    let of_suites: Vec<String> = of_suites.collect();
    split.why_failed.extend(of_suites);
    split
}

/// Judges a run without records by what its tests' harnesses report: the tests that are ignored wherever they are listed.
pub fn judge_results(report: &Report) -> Split {
    let mut tests: BTreeMap<TestId, BTreeMap<&str, bool>> = BTreeMap::new();
    for (name, lane) in &report.lanes {
        for test in lane.checks.iter().flat_map(|check| &check.results.tests) {
            let id = TestId {
                binary: test.suite.clone(),
                test: Some(test.name.clone()),
            };
            *tests.entry(id).or_default().entry(name).or_default() |= test.outcome != TestOutcome::Ignored;
        }
    }
    let ignored = tests
        .into_iter()
        .filter(|(_, lanes)| !lanes.values().any(|has_run| *has_run));
    let skipped = ignored.map(|(id, lanes)| Skipped {
        id,
        why: lanes
            .keys()
            .map(|lane| format!("{lane}: {}", Judged::Ignored.words()))
            .collect::<Vec<_>>()
            .join("; "),
        is_known: false,
    });
    Split {
        skipped: skipped.collect(),
        ..Split::default()
    }
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

/// A test that never opens a device where it is there skips nothing where it is not: it only looked there too.
fn excuse_lookers(lanes: &mut BTreeMap<String, InLane>) {
    let only_looks = lanes.values().any(|lane| lane.judged == Judged::Looked);
    if only_looks && !lanes.values().any(|lane| lane.judged == Judged::Used) {
        let skipped = lanes
            .values_mut()
            .filter(|lane| lane.judged == Judged::SilentSkip);
        skipped.for_each(|lane| lane.judged = Judged::Looked);
    }
}

/// A test that uses a device in one lane, and passes in another without asking for any, returned early there: such as for want
/// of a variable.
fn expose_early_returns(lanes: &mut BTreeMap<String, InLane>) {
    let is_live = |device: &Device| !device.path.starts_with("/dev/net/");
    let uses = |lane: &InLane| lane.judged == Judged::Used && lane.devices.iter().any(is_live);
    if lanes.values().any(uses) {
        let idle = lanes
            .values_mut()
            .filter(|lane| lane.judged == Judged::NeedsNothing);
        idle.for_each(|lane| lane.judged = Judged::SilentSkip);
    }
}

/// Decides where a test belongs: with what it opened somewhere, or was refused everywhere. A device that any box has, such
/// as `/dev/net/tun`, asks for a special box only where it was lacking.
fn half(lanes: &BTreeMap<String, InLane>) -> Half {
    let devices = || lanes.values().flat_map(|lane| &lane.devices);
    let is_needed = |device: &Device| {
        let same = || devices().filter(|other| other.path == device.path);
        let is_lacking = same().any(|other| !other.is_got());
        let best = same().map(|other| &other.attempt).max();
        match best {
            Some(Attempt::Seen) | None => false,
            Some(Attempt::Refused { .. }) => true,
            Some(Attempt::Opened | Attempt::Driven { .. }) => {
                is_lacking || !device.path.starts_with("/dev/net/")
            }
        }
    };
    if devices().any(is_needed) {
        Half::Live
    } else {
        Half::Any
    }
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
    let seen: BTreeSet<&TestId> = split
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
        assert_eq!(half(&["a no-kvm"], &["a sees"]), Half::Any);
        assert_eq!(half(&["a no-kvm"], &[]), Half::Live);
    }

    #[test]
    fn a_test_that_only_looks_where_the_device_is_skips_nothing_where_it_is_not() {
        let counts = |live: &str| {
            let split = check(&["a no-kvm"], &[live], &[]);
            split.lanes["cheap"].counts.clone()
        };
        assert_eq!(counts("a sees"), [(Judged::Looked, 1)].into());
        assert_eq!(counts("a kvm"), [(Judged::SilentSkip, 1)].into());
    }

    #[test]
    fn a_failure_for_want_of_a_device_is_distinguished() {
        let split = check(&["a fails-without", "b fails"], &["a kvm", "b ok"], &[]);
        let failed: Vec<String> = split.failed().map(|test| test.id.to_string()).collect();
        assert_eq!(failed, ["b b"]);
    }

    #[test]
    fn a_binary_is_spelt_as_the_record_has_it() {
        let records = lane("live", false, &["a ok"]);
        assert_eq!(records.spelling().of("b (tests/b.rs)", "a"), Some("b"));
        assert_eq!(records.spelling().of("c", "a"), None);
        assert_eq!(records.spelling().of("b", "other"), None);
    }

    #[test]
    fn a_test_that_returns_early_in_one_lane_is_seen_by_what_it_does_in_another() {
        let split = check(&["a ok", "b ok"], &["a kvm", "b tun"], &[]);
        assert_eq!(
            split.lanes["cheap"].counts,
            [(Judged::NeedsNothing, 1), (Judged::SilentSkip, 1)].into()
        );
    }

    #[test]
    fn a_lane_that_runs_a_whole_suite_fails_with_its_tests() {
        let suite = |tests: &[&str]| LaneRecords {
            is_suite: true,
            ..lane("live", false, tests)
        };
        let why = |tests: &[&str]| judge(&[suite(tests)], &Baseline::default()).why_failed;
        assert_eq!(
            why(&["a fails", "b ok"]),
            ["live: 1 failed in a box that had what they asked for"]
        );
        assert_eq!(why(&["a fails-without", "b ok"]), Vec::<String>::new());
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
