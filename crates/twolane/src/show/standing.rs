//! Tracks which boxes of this process may exist, for a user who interrupts twice and leaves at once.

use std::collections::BTreeMap;

use model::{
    event::{Event, EventRecord},
    name::Label,
    time::Deadline,
    world::Events,
};
use parking_lot::{Mutex, MutexGuard};

use super::lines;

/// Keeps a message for each box that may exist.
#[derive(Default)]
pub(crate) struct Standing(Mutex<Boxes>);

#[derive(Default)]
struct Boxes {
    labels: BTreeMap<String, Label>,
    standing: BTreeMap<Label, BoxStatus>,
    left: BTreeMap<Label, String>,
}

struct BoxStatus {
    at: String,
    deadline: Deadline,
    dead_mans_switch: String,
}

impl Standing {
    /// Returns the message for a user who leaves at once; `None` when no box may exist.
    pub(crate) fn text(&self) -> Option<String> {
        let boxes = self.boxes();
        let lines: Vec<String> = boxes
            .standing
            .iter()
            .map(|(label, status)| {
                format!(
                    "box {label} at {} may still be there; it must be gone by {}: {}\n  help: twolane down {label}",
                    status.at,
                    status.deadline.moment(),
                    status.dead_mans_switch
                )
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Returns the errors about boxes that could not be destroyed; `None` when there are none.
    pub(crate) fn left(&self) -> Option<String> {
        let boxes = self.boxes();
        let texts: Vec<&str> = boxes.left.values().map(String::as_str).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }

    fn boxes(&self) -> MutexGuard<'_, Boxes> {
        self.0.lock()
    }
}

impl Events for Standing {
    fn emit(&self, record: EventRecord) {
        let mut boxes = self.boxes();
        match (record.event, record.lane) {
            (Event::LaneBegan { label, .. }, Some(lane)) => {
                boxes.labels.insert(lane, label);
            }
            (
                Event::CandidateTried {
                    candidate,
                    deadline,
                    dead_mans_switch,
                    ..
                },
                Some(lane),
            ) => {
                if let Some(label) = boxes.labels.get(&lane).cloned() {
                    let status = BoxStatus {
                        at: candidate.provider.to_string(),
                        deadline,
                        dead_mans_switch,
                    };
                    boxes.standing.insert(label, status);
                }
            }
            (Event::MachineGone { label, .. }, _) => {
                boxes.standing.remove(&label);
                boxes.left.remove(&label);
            }
            (
                Event::MachineLeft {
                    label,
                    provider,
                    id,
                    why,
                },
                _,
            ) => {
                let text = lines::left(label.as_str(), provider.as_str(), id.as_deref(), &why);
                boxes.left.insert(label, text);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{candidate::Candidate, lane::KvmNeed, name::ProviderName, price::Price};

    use super::*;

    #[test]
    fn a_box_stands_from_the_first_try_until_it_is_confirmed_gone() {
        let standing = Standing::default();
        let label = Label::new("a-live-1").unwrap();
        let emit = |event| {
            standing.emit(EventRecord::new(
                "2026-01-02T03:04:05Z".parse().unwrap(),
                Some("live"),
                event,
            ));
        };
        emit(Event::LaneBegan {
            label: label.clone(),
            need: KvmNeed::None,
            checks: vec![],
        });
        assert_eq!(standing.text(), None);
        emit(Event::CandidateTried {
            candidate: Candidate {
                provider: ProviderName::new("local").unwrap(),
                region: "here".into(),
                instance_type: "2x4g".into(),
                image: None,
                disk_gb: None,
                options: Box::default(),
            },
            deadline: Deadline::at_unix(1_800_000_000),
            dead_mans_switch: "its timer powers it off".into(),
            price: Price::Unknown,
        });
        let text = standing.text().unwrap();
        assert!(
            text.contains("a-live-1 at local") && text.contains("its timer powers it off"),
            "{text}"
        );
        assert!(text.ends_with("twolane down a-live-1"), "{text}");
        emit(Event::MachineGone {
            label,
            resources: vec![],
        });
        assert_eq!(standing.text(), None);
    }
}
