//! Counts the tests of a check while it runs, from what it prints, and says so once a second at most.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use model::{
    event::{Event, EventRecord},
    results::Progress,
    time::{Timestamp, between},
    world::Events,
};
use parking_lot::Mutex;

use super::clean::Lines;
use crate::past::Key;

/// Pause between two events about one check.
const PAUSE: Duration = Duration::from_secs(1);

/// How long the checks of a project usually take, by lane and name.
pub(crate) type Usual = Box<dyn Fn(&str) -> BTreeMap<Key, f64> + Send + Sync>;

/// Passes events on, and adds [`Event::CheckProgress`].
pub(crate) struct Counted {
    events: Arc<dyn Events>,
    usual: Usual,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Read once, for all lanes.
    usual: BTreeMap<Key, f64>,
    /// By lane and slug.
    checks: BTreeMap<(String, String), Counting>,
}

#[derive(Default)]
struct Counting {
    usual_seconds: Option<f64>,
    lines: Lines,
    progress: Progress,
    emitted: Option<Timestamp>,
}

impl Counted {
    /// Counts for these readers.
    pub(crate) fn new(events: Arc<dyn Events>, usual: Usual) -> Self {
        Self {
            events,
            usual,
            state: Mutex::default(),
        }
    }
}

impl Events for Counted {
    fn emit(&self, record: EventRecord) {
        let progress = self.state.lock().take(&record, &self.usual);
        let about = (record.at, record.lane.clone());
        self.events.emit(record);
        if let Some(event) = progress {
            self.events
                .emit(EventRecord::new(about.0, about.1.as_deref(), event));
        }
    }
}

impl State {
    /// Takes an event; returns what it says of a check's tests, if that is to be said now.
    fn take(&mut self, record: &EventRecord, usual: &Usual) -> Option<Event> {
        let key = |slug: &String| Some((record.lane.clone()?, slug.clone()));
        match &record.event {
            Event::RunBegan { project, .. } => self.usual = usual(project),
            Event::LaneBegan { checks, .. } if !checks.is_empty() => {
                let lane = record.lane.as_deref()?;
                for check in checks {
                    let named = (lane.to_owned(), check.name.clone());
                    let counting = Counting {
                        usual_seconds: self.usual.get(&named).copied(),
                        ..Counting::default()
                    };
                    self.checks
                        .insert((lane.to_owned(), check.slug.clone()), counting);
                }
            }
            Event::CheckBegan { check } => {
                let counting = self.checks.entry(key(check)?).or_default();
                counting.usual_seconds?;
                return Some(counting.event(check));
            }
            Event::CheckOutput { check, bytes, .. } => {
                let counting = self.checks.entry(key(check)?).or_default();
                return counting.take(bytes, record.at).then(|| counting.event(check));
            }
            Event::CheckEnded { check, .. } => {
                self.checks.remove(&key(check)?);
            }
            _ => {}
        }
        None
    }
}

impl Counting {
    /// Takes output; returns whether what it counted is to be said.
    fn take(&mut self, bytes: &[u8], now: Timestamp) -> bool {
        let before = self.progress;
        for line in self.lines.take(bytes) {
            self.progress.take(&line);
        }
        let is_due = self.emitted.is_none_or(|at| between(at, now) >= PAUSE);
        let is_news = is_due && self.progress != before;
        if is_news {
            self.emitted = Some(now);
        }
        is_news
    }

    fn event(&self, check: &str) -> Event {
        Event::CheckProgress {
            check: check.to_owned(),
            ended: self.progress.ended,
            total: self.progress.total,
            failed: self.progress.failed,
            usual_seconds: self.usual_seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<String>>);

    impl Events for Seen {
        fn emit(&self, record: EventRecord) {
            if let Event::CheckProgress {
                ended,
                total,
                failed,
                usual_seconds,
                ..
            } = record.event
            {
                let at = record.at.as_millisecond() % 100_000;
                self.0.lock().push(format!(
                    "{at}: {ended}/{total}, {failed} failed, usually {usual_seconds:?}"
                ));
            }
        }
    }

    #[test]
    fn tests_are_counted_once_a_second() {
        let seen = Arc::new(Seen::default());
        let usual = |project: &str| {
            assert_eq!(project, "demo");
            BTreeMap::from([(("fast".to_owned(), "the tests".to_owned()), 4.5)])
        };
        let counted = Counted::new(seen.clone(), Box::new(usual));
        let emit = |milliseconds: i64, event: serde_json::Value| {
            let at = Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap();
            counted.emit(EventRecord::new(
                at,
                Some("fast"),
                serde_json::from_value(event).unwrap(),
            ));
        };
        let said = |milliseconds: i64, text: &str| {
            let at = Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).unwrap();
            let event = Event::CheckOutput {
                check: "the-tests".to_owned(),
                offset: 0,
                bytes: text.as_bytes().to_vec(),
            };
            counted.emit(EventRecord::new(at, Some("fast"), event));
        };
        emit(
            0,
            serde_json::json!({"event": "run-began", "run": "20260102-030405-abcd", "project": "demo", "version": "0"}),
        );
        emit(
            0,
            serde_json::json!({"event": "lane-began", "label": "demo-fast", "need": "none", "checks": [
                {"name": "the tests", "slug": "the-tests", "run": "cargo test", "timeout_seconds": 60}]}),
        );
        emit(
            10,
            serde_json::json!({"event": "check-began", "check": "the-tests"}),
        );
        said(20, "running 3 te");
        said(30, "sts\ntest a ... ok\n");
        said(40, "test b ... FAILED\n");
        said(1_050, "test c ... ok\nnothing that counts\n");
        said(3_000, "nor this\n");
        assert_eq!(
            *seen.0.lock(),
            [
                "10: 0/0, 0 failed, usually Some(4.5)",
                "30: 1/3, 0 failed, usually Some(4.5)",
                "1050: 3/3, 1 failed, usually Some(4.5)",
            ]
        );
    }
}
