//! The receipt of a run: every resource that it made, and when its provider said that it is gone. Read from the
//! journal, which knows of every create call that may have left.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    journal::{Entry, Fact},
    machine::{Gone, ResourceKind},
    name::{Label, ProviderName, RunId, Token},
    time::{Deadline, Timestamp},
    verdict::Verdict,
};

/// The receipt of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// The run.
    pub run: RunId,
    /// When it began.
    pub began: Option<Timestamp>,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it ended; none while it goes on, or when its process was killed.
    pub verdict: Option<Verdict>,
    /// Whether nothing that it made can be there any more.
    pub is_settled: bool,
    /// Its boxes.
    pub boxes: Vec<BoxReceipt>,
}

/// What was made under one label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BoxReceipt {
    /// The box's name.
    pub label: Label,
    /// When it must be gone.
    pub deadline: Deadline,
    /// Every create call that may have left.
    pub asked: Vec<Asked>,
    /// What its provider said of it: how it runs, and what it reaches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Every resource that is known to have been made.
    pub resources: Vec<Resource>,
    /// When it was confirmed that nothing of this label is there, nor can turn up any more.
    pub settled: Option<Timestamp>,
    /// Why it may still be there, if it may.
    pub left: Option<String>,
}

/// One create call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// When its intent was recorded.
    pub at: Timestamp,
    /// Who was asked.
    pub provider: ProviderName,
    /// Its idempotency token.
    pub token: Token,
    /// What came of it.
    pub answer: Answer,
}

/// What came of a create call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "answer", content = "why", rename_all = "kebab-case")]
pub enum Answer {
    /// The box was made.
    Created,
    /// It was refused.
    Refused(String),
    /// There was none.
    Unanswered(String),
    /// The process ended before there was one.
    Unknown,
}

/// One resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Resource {
    /// The kind of thing.
    pub kind: ResourceKind,
    /// The provider's own id.
    pub id: String,
    /// When the provider no longer listed it.
    pub gone: Option<Timestamp>,
}

impl Receipt {
    /// Reads the receipt of a run out of all entries, oldest first. None when there is no entry of that run.
    pub fn of(run: &RunId, entries: &[Entry]) -> Option<Self> {
        let mut receipt = Self {
            run: run.clone(),
            began: None,
            ended: None,
            verdict: None,
            is_settled: false,
            boxes: Vec::new(),
        };
        let mut boxes: BTreeMap<Label, BoxReceipt> = BTreeMap::new();
        let mut is_known = false;
        for entry in entries.iter().filter(|entry| entry.run == *run) {
            is_known = true;
            match &entry.fact {
                Fact::RunBegan { .. } => {
                    receipt.began = receipt.began.or(Some(entry.at));
                    (receipt.ended, receipt.verdict) = (None, None);
                }
                Fact::RunEnded { verdict } => {
                    (receipt.ended, receipt.verdict) = (Some(entry.at), Some(*verdict));
                }
                Fact::Intent { tags, candidate } => {
                    let new = || BoxReceipt::new(tags.label.clone(), tags.deadline);
                    let receipt = boxes.entry(tags.label.clone()).or_insert_with(new);
                    (receipt.settled, receipt.left, receipt.deadline) = (None, None, tags.deadline);
                    receipt.asked.push(Asked {
                        at: entry.at,
                        provider: candidate.provider.clone(),
                        token: tags.token.clone(),
                        answer: Answer::Unknown,
                    });
                }
                fact => {
                    if let Some(receipt) = fact.label().and_then(|label| boxes.get_mut(label)) {
                        receipt.take(entry.at, fact);
                    }
                }
            }
        }
        receipt.boxes = boxes.into_values().collect();
        receipt.is_settled = receipt.boxes.iter().all(|receipt| receipt.settled.is_some());
        is_known.then_some(receipt)
    }
}

impl BoxReceipt {
    fn new(label: Label, deadline: Deadline) -> Self {
        Self {
            label,
            deadline,
            asked: Vec::new(),
            note: None,
            resources: Vec::new(),
            settled: None,
            left: None,
        }
    }

    fn take(&mut self, at: Timestamp, fact: &Fact) {
        match fact {
            Fact::Up { machine } => {
                self.answer(Answer::Created);
                self.note.clone_from(&machine.note);
                self.record(ResourceKind::Machine, &machine.id, None);
            }
            Fact::Refused { why, .. } => self.answer(Answer::Refused(why.clone())),
            Fact::Unanswered { why, .. } => self.answer(Answer::Unanswered(why.clone())),
            Fact::Extended { deadline, .. } => self.deadline = *deadline,
            Fact::Kept { .. } => self.left = Some("its user keeps it".to_owned()),
            Fact::Gone {
                resources, is_final, ..
            } => {
                for Gone { kind, id } in resources {
                    self.record(*kind, id, Some(at));
                }
                if *is_final {
                    self.settle(at);
                } else {
                    let why = "a create call was not answered, and its box may turn up late";
                    self.left = Some(why.to_owned());
                }
            }
            Fact::Left { why, .. } => self.left = Some(why.clone()),
            Fact::DownBegan { .. } | Fact::RunBegan { .. } | Fact::RunEnded { .. } | Fact::Intent { .. } => {}
        }
    }

    fn answer(&mut self, answer: Answer) {
        if let Some(asked) = self.asked.last_mut() {
            asked.answer = answer;
        }
    }

    /// Nothing is listed any more: what was not seen to go has gone too.
    fn settle(&mut self, at: Timestamp) {
        (self.settled, self.left) = (Some(at), None);
        for made in &mut self.resources {
            made.gone.get_or_insert(at);
        }
    }

    fn record(&mut self, kind: ResourceKind, id: &str, gone: Option<Timestamp>) {
        let is_it = |made: &&mut Resource| made.kind == kind && made.id == id;
        match self.resources.iter_mut().find(is_it) {
            Some(made) => made.gone = gone,
            None => self.resources.push(Resource {
                kind,
                id: id.to_owned(),
                gone,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        candidate::Candidate,
        machine::Machine,
        tags::{Owner, Tags},
    };

    fn label() -> Label {
        Label::new("m1").unwrap()
    }

    fn fact(line: &str) -> Fact {
        let label = label();
        let why = "503".to_owned();
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["begin"] => Fact::RunBegan {
                project: "mvm".into(),
            },
            ["end"] => Fact::RunEnded {
                verdict: Verdict::Passed,
            },
            ["intent", token] => Fact::Intent {
                candidate: Candidate {
                    provider: ProviderName::new("aws").unwrap(),
                    region: "here".into(),
                    instance_type: "2x4g".into(),
                    image: None,
                    disk_gb: None,
                    options: Box::default(),
                },
                tags: Tags {
                    label,
                    run: RunId::new("r1").unwrap(),
                    token: Token::new(token).unwrap(),
                    deadline: Deadline::at_unix(1_800_000_000),
                    owner: Owner::default(),
                },
            },
            ["up", id] => Fact::Up {
                machine: Machine {
                    label,
                    provider: ProviderName::new("aws").unwrap(),
                    id: id.into(),
                    region: "here".into(),
                    instance_type: "2x4g".into(),
                    address: [10, 0, 0, 1].into(),
                    port: 22,
                    jump: None,
                    host_key: None,
                    note: None,
                },
            },
            ["unanswered"] => Fact::Unanswered { label, why },
            ["left"] => Fact::Left { label, why },
            ["gone", id] => Fact::Gone {
                label,
                resources: vec![Gone {
                    kind: ResourceKind::Machine,
                    id: id.into(),
                }],
                is_final: true,
                attempts: vec![],
            },
            ["nothing"] => Fact::Gone {
                label,
                resources: vec![],
                is_final: false,
                attempts: vec![],
            },
            _ => panic!("no such line: {line}"),
        }
    }

    /// Each line is a second after the one before.
    #[track_caller]
    fn check(story: &str, resources: &str, is_settled: bool) -> Receipt {
        let entry = |(at, line): (usize, &str)| Entry {
            at: Timestamp::from_second(at as i64).unwrap(),
            run: RunId::new("r1").unwrap(),
            fact: fact(line),
        };
        let entries: Vec<Entry> = story.split(", ").enumerate().map(entry).collect();
        let receipt = Receipt::of(&RunId::new("r1").unwrap(), &entries).unwrap();
        let all = receipt.boxes.iter().flat_map(|it| &it.resources);
        let shown: Vec<String> = all
            .map(|made| {
                format!(
                    "{}:{}",
                    made.id,
                    made.gone.map_or("-".into(), |at| at.as_second().to_string())
                )
            })
            .collect();
        assert_eq!(shown.join(" "), resources, "{story}");
        assert_eq!(receipt.is_settled, is_settled, "{story}");
        receipt
    }

    #[test]
    fn every_resource_is_there_with_the_moment_at_which_it_went() {
        check("begin, intent t1, up i-1, gone i-1, end", "i-1:3", true);
        check("begin, intent t1, up i-1, left, gone i-1", "i-1:4", true);
        check("begin, intent t1, up i-1", "i-1:-", false);
    }

    #[test]
    fn a_call_without_an_answer_is_open_until_it_is_settled() {
        let receipt = check("begin, intent t1, unanswered, nothing", "", false);
        assert!(
            receipt.boxes[0]
                .left
                .as_ref()
                .unwrap()
                .contains("may turn up late")
        );
        check("begin, intent t1, unanswered, nothing, gone i-9", "i-9:4", true);
        let killed = check("begin, intent t1", "", false);
        assert_eq!(killed.boxes[0].asked[0].answer, Answer::Unknown);
    }

    #[test]
    fn a_run_without_a_box_is_settled() {
        check("begin, end", "", true);
        assert_eq!(Receipt::of(&RunId::new("r2").unwrap(), &[]), None);
    }
}
