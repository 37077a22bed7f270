//! Which boxes of this process may stand at this moment, for the one who leaves at once.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use model::{
    event::{Event, Happening},
    name::Label,
    time::Deadline,
    world::Events,
};

use super::text;

/// Keeps what to say of each box that may stand.
#[derive(Default)]
pub(crate) struct Standing(Mutex<Boxes>);

#[derive(Default)]
struct Boxes {
    labels: BTreeMap<String, Label>,
    standing: BTreeMap<Label, Stands>,
    left: BTreeMap<Label, String>,
}

struct Stands {
    at: String,
    deadline: Deadline,
    dead_man: String,
}

impl Standing {
    /// Returns what to tell the user who leaves at once; none when nothing stands.
    pub(crate) fn text(&self) -> Option<String> {
        let boxes = self.boxes();
        let lines: Vec<String> = boxes
            .standing
            .iter()
            .map(|(label, stands)| {
                format!(
                    "box {label} at {} may still be there; it must be gone by {}: {}\n  help: twolane down {label}",
                    stands.at,
                    stands.deadline.moment(),
                    stands.dead_man
                )
            })
            .collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }

    /// Returns what to tell of the boxes that could not be destroyed; none when there are none.
    pub(crate) fn left(&self) -> Option<String> {
        let boxes = self.boxes();
        let texts: Vec<&str> = boxes.left.values().map(String::as_str).collect();
        (!texts.is_empty()).then(|| texts.join("\n"))
    }

    fn boxes(&self) -> MutexGuard<'_, Boxes> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Events for Standing {
    fn tell(&self, happening: Happening) {
        let mut boxes = self.boxes();
        match (happening.event, happening.lane) {
            (Event::LaneBegan { label, .. }, Some(lane)) => {
                boxes.labels.insert(lane, label);
            }
            (
                Event::CandidateTried {
                    candidate,
                    deadline,
                    dead_man,
                    ..
                },
                Some(lane),
            ) => {
                if let Some(label) = boxes.labels.get(&lane).cloned() {
                    let stands = Stands {
                        at: candidate.provider.to_string(),
                        deadline,
                        dead_man,
                    };
                    boxes.standing.insert(label, stands);
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
                let text = text::left(label.as_str(), provider.as_str(), id.as_deref(), &why);
                boxes.left.insert(label, text);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{candidate::Candidate, lane::KvmNeed, name::ProviderName, plan::Price};

    use super::*;

    #[test]
    fn a_box_stands_from_the_first_try_until_it_is_confirmed_gone() {
        let standing = Standing::default();
        let label = Label::new("a-live-1").unwrap();
        let tell = |event| {
            standing.tell(Happening::new(
                "2026-01-02T03:04:05Z".parse().unwrap(),
                Some("live"),
                event,
            ));
        };
        tell(Event::LaneBegan {
            label: label.clone(),
            need: KvmNeed::None,
            checks: vec![],
        });
        assert_eq!(standing.text(), None);
        tell(Event::CandidateTried {
            candidate: Candidate {
                provider: ProviderName::new("local").unwrap(),
                region: "here".into(),
                instance_type: "2x4g".into(),
                image: None,
                disk_gb: None,
            },
            deadline: Deadline::at_unix(1_800_000_000),
            dead_man: "its timer powers it off".into(),
            price: Price::Unknown,
        });
        let text = standing.text().unwrap();
        assert!(
            text.contains("a-live-1 at local") && text.contains("its timer powers it off"),
            "{text}"
        );
        assert!(text.ends_with("twolane down a-live-1"), "{text}");
        tell(Event::MachineGone {
            label,
            resources: vec![],
        });
        assert_eq!(standing.text(), None);
    }
}
