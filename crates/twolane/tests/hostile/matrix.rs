//! Every place at which a box is asked for something, and what it may do there instead.

use std::{collections::BTreeMap, io::Write as _, thread, time::Duration};

use crate::place::{Ended, Place};

/// How long the box may live: the shortest that there is.
const TTL: Duration = Duration::from_secs(60);

/// How long after that a run has ended.
const GRACE: Duration = Duration::from_secs(60);

/// How much memory a run may have, in MiB.
const MEMORY_MAX: u64 = 150;

/// How many runs go on at once: most of them only wait.
const AT_ONCE: usize = 28;

const LANE: &str =
    "[limits]\nlog = \"4 MiB\"\nartifacts = \"8 MiB\"\nartifact-files = 1000\n[lanes.fast]\nttl = \"60s\"\n";

/// What a box is asked for, in this order.
const PLACES: [&str; 10] = [
    "take-over",
    "new-host-key",
    "list",
    "wait-stage1",
    "copy",
    "gate",
    "start",
    "follow",
    "look",
    "bring",
];

/// What it may do anywhere.
const ANYWHERE: [&str; 3] = ["hangs", "floods", "closes"];

/// What it may do at one place, and the exit code that follows.
const THERE: [(&str, &str, i32); 14] = [
    ("take-over", "complains", 3),
    ("copy", "complains", 3),
    ("follow", "complains", 3),
    ("bring", "complains", 0),
    ("follow", "endless", 3),
    ("follow", "far", 3),
    ("follow", "last", 3),
    ("follow", "short", 3),
    ("follow", "sized", 3),
    ("wait-stage1", "steps", 3),
    ("wait-stage1", "hints", 3),
    ("start", "skips", 3),
    ("gate", "gate", 3),
    ("look", "much", 0),
];

/// Runs one, and returns what is wrong with it.
fn wrong(place: &Place, code: Option<i32>) -> (Ended, Vec<String>) {
    let ended = place.run();
    let mut wrong = Vec::new();
    let mut hold = |holds: bool, what: String| {
        if !holds {
            wrong.push(what);
        }
    };
    hold(place.was_hostile(), "the box was never hostile".to_owned());
    hold(
        ended.peak > 0 && ended.peak <= MEMORY_MAX,
        format!("{} MiB", ended.peak),
    );
    hold(ended.took < TTL + GRACE, format!("{:?}", ended.took));
    hold(ended.is_gone(), "the box is not gone".to_owned());
    let is_end = code.map_or(matches!(ended.status.code(), Some(0 | 3)), |code| {
        ended.status.code() == Some(code)
    });
    hold(is_end, format!("{}", ended.status));
    let size = place.results_size();
    hold(size < 40 << 20, format!("{size} bytes of results"));
    (ended, wrong)
}

/// Writes the figures where a person sees them, too.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn hostile_box_costs_neither_memory_nor_time_nor_disk() {
    if Place::new(LANE).is_none() {
        return;
    }
    let anywhere = PLACES.iter().flat_map(|at| ANYWHERE.map(|how| (*at, how, None)));
    // What waits for the deadline begins first.
    let mut cases: Vec<_> = anywhere
        .chain(THERE.map(|(at, how, code)| (at, how, Some(code))))
        .collect();
    cases.sort_by_key(|(_, how, _)| !matches!(*how, "hangs" | "closes" | "endless" | "sized"));
    let cases = parking_lot::Mutex::new(cases.into_iter());
    let found = parking_lot::Mutex::new(BTreeMap::new());
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some((at, how, code)) = cases.lock().next() else {
                        return;
                    };
                    let place = Place::new(LANE).unwrap().with_fault(at, how);
                    let (ended, wrong) = wrong(&place, code);
                    say(&format!(
                        "{at} {how}: {:?}, {} MiB, {}",
                        ended.took, ended.peak, ended.status
                    ));
                    if !wrong.is_empty() {
                        found.lock().insert((at, how), (wrong, ended.story()));
                    }
                }
            });
        }
    });
    let found = found.into_inner();
    for ((at, how), (wrong, story)) in &found {
        say(&format!("{at} {how}: {}\n{story}\n", wrong.join("; ")));
    }
    let names: Vec<_> = found.iter().map(|(case, (wrong, _))| (case, wrong)).collect();
    assert!(names.is_empty(), "{names:#?}");
}
