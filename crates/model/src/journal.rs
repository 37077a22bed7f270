//! What was intended and what became of it; and what we may own, which is all entries, folded.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    candidate::Candidate,
    machine::{Gone, Machine},
    name::{Label, ProviderName, RunId, Token},
    tags::Tags,
    time::{Deadline, Timestamp, after},
    verdict::Verdict,
};

/// How long after its call a box may turn up.
const LATE_MAX: Duration = Duration::from_secs(30 * 60);

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// When it was written, by this machine's clock.
    pub at: Timestamp,
    /// The run that it belongs to.
    pub run: RunId,
    /// What was intended, or what happened.
    pub fact: Fact,
}

/// What was intended, or what happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "kebab-case")]
pub enum Fact {
    /// A run or a single command began.
    RunBegan {
        /// The project's name.
        project: String,
    },
    /// A create call is about to leave. Written before it does.
    Intent {
        /// Whom it will ask for what.
        candidate: Candidate,
        /// All that the box will carry: label, attempt, deadline.
        tags: Tags,
    },
    /// The provider refused, and is certain to have made no box.
    Refused {
        /// The box's name.
        label: Label,
        /// The attempt that was refused.
        token: Token,
        /// Why.
        why: String,
    },
    /// Whether the provider made the box is not known.
    Unanswered {
        /// The box's name.
        label: Label,
        /// What was heard instead of an answer.
        why: String,
    },
    /// The box exists.
    Up {
        /// What the provider said of it.
        machine: Machine,
    },
    /// Its deadline was moved.
    Extended {
        /// The box's name.
        label: Label,
        /// The new deadline.
        deadline: Deadline,
    },
    /// The user wants the box to stay until its deadline, whatever becomes of the run.
    Kept {
        /// The box's name.
        label: Label,
    },
    /// A destroy call is about to leave.
    DownBegan {
        /// The box's name.
        label: Label,
    },
    /// The providers no longer list the box, nor anything that was made with it.
    Gone {
        /// The box's name.
        label: Label,
        /// What there was.
        resources: Vec<Gone>,
        /// Whether nothing of that label can turn up any more: see [`Held::is_final`].
        is_final: bool,
        /// The attempts that were known when this was found out; none: all. Another process may have begun one since.
        #[serde(default)]
        attempts: Vec<Token>,
    },
    /// It could not be destroyed.
    Left {
        /// The box's name.
        label: Label,
        /// Why.
        why: String,
    },
    /// The run ended.
    RunEnded {
        /// How.
        verdict: Verdict,
    },
}

impl Fact {
    /// Returns the label of the box that the fact is about, if it is about one.
    pub fn label(&self) -> Option<&Label> {
        match self {
            Self::RunBegan { .. } | Self::RunEnded { .. } => None,
            Self::Intent { tags, .. } => Some(&tags.label),
            Self::Up { machine } => Some(&machine.label),
            Self::Refused { label, .. }
            | Self::Unanswered { label, .. }
            | Self::Extended { label, .. }
            | Self::Kept { label }
            | Self::DownBegan { label }
            | Self::Gone { label, .. }
            | Self::Left { label, .. } => Some(label),
        }
    }
}

/// What the journal says of one box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The run that it was made for.
    pub run: RunId,
    /// Whom the last attempt asked for what.
    pub candidate: Candidate,
    /// What the last attempt's create call carried; its deadline is the one in force.
    pub tags: Tags,
    /// When the last attempt was recorded.
    pub since: Timestamp,
    /// Where the box stands.
    pub state: HeldState,
    /// What the provider said of it, once it did.
    pub machine: Option<Machine>,
    /// The latest deadline that any attempt carries.
    pub looked_for: Deadline,
    /// Whether the user wants it to stay until its deadline.
    pub is_kept: bool,
    /// Every attempt that may have made a box: one that was given up for the next candidate may turn up late.
    pub attempts: Vec<Attempt>,
}

/// One create call that may have left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// Its idempotency token.
    pub token: Token,
    /// Who was asked.
    pub provider: ProviderName,
    /// Where the box was to be.
    pub region: String,
    /// Whether the provider answered, be it that it made the box or that it refused.
    pub is_answered: bool,
}

impl Held {
    /// Returns whether nothing of this label can turn up any more after `found` boxes were destroyed and none is listed:
    /// no attempt is unanswered, or the only one's box was found, or it is too late for one. Of several attempts one
    /// may have made all that was found, as a call may arrive twice.
    pub fn is_final(&self, found: usize, can_turn_up_late: bool, now: Timestamp) -> bool {
        self.is_answered()
            || !can_turn_up_late
            || (found > 0 && self.attempts.len() == 1)
            || now >= self.looked_until()
    }

    /// Returns until when an unanswered attempt's box is looked for. A call that left just before its deadline makes one
    /// that turns up after it.
    pub fn looked_until(&self) -> Timestamp {
        after(self.looked_for.moment(), LATE_MAX)
    }

    /// Returns whether every attempt was answered.
    pub fn is_answered(&self) -> bool {
        self.attempts.iter().all(|attempt| attempt.is_answered)
    }

    /// Returns whether nobody has begun to destroy it.
    pub fn may_stay(&self) -> bool {
        match self.state {
            HeldState::Intended | HeldState::Unknown(_) | HeldState::Up => true,
            HeldState::Leaving | HeldState::Left(_) => false,
        }
    }

    /// Returns the tokens of all attempts.
    pub fn tokens(&self) -> Vec<Token> {
        self.attempts
            .iter()
            .map(|attempt| attempt.token.clone())
            .collect()
    }

    /// Returns where at a provider the box may be.
    pub fn regions_at(&self, provider: &ProviderName) -> BTreeSet<String> {
        let asked = self
            .attempts
            .iter()
            .filter(|attempt| attempt.provider == *provider);
        let made = self
            .machine
            .iter()
            .filter(|machine| machine.provider == *provider);
        asked
            .map(|attempt| attempt.region.clone())
            .chain(made.map(|machine| machine.region.clone()))
            .collect()
    }

    /// Returns every provider that may have the box, each once.
    pub fn providers(&self) -> Vec<&ProviderName> {
        let mut providers: Vec<_> = self.attempts.iter().map(|attempt| &attempt.provider).collect();
        providers.sort();
        providers.dedup();
        providers
    }
}

/// Where a box stands, as far as the journal knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "why", rename_all = "kebab-case")]
pub enum HeldState {
    /// A create call may have left.
    Intended,
    /// A create call was not answered.
    Unknown(String),
    /// It exists.
    Up,
    /// A destroy call may have left.
    Leaving,
    /// A destroy failed.
    Left(String),
}

/// What the journal says of one run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunRecord {
    /// The project's name.
    pub project: String,
    /// When it began.
    pub began: Timestamp,
    /// How it ended, if it did.
    pub verdict: Option<Verdict>,
}

/// What we may own: all entries, folded. A box stays in it until its absence was confirmed, or refused for certain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Holdings {
    /// By label.
    pub boxes: BTreeMap<Label, Held>,
    /// By id, which sorts by time.
    pub runs: BTreeMap<RunId, RunRecord>,
}

impl Holdings {
    /// Folds all entries, oldest first.
    pub fn fold<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut holdings = Self::default();
        for entry in entries {
            holdings.take(entry);
        }
        holdings
    }

    /// Returns the boxes of a project's runs.
    pub fn boxes_of_project(&self, project: &str) -> impl Iterator<Item = (&Label, &Held)> {
        let is_its = move |held: &Held| self.runs.get(&held.run).is_some_and(|run| run.project == project);
        self.boxes.iter().filter(move |(_, held)| is_its(held))
    }

    /// Takes the next entry.
    pub fn take(&mut self, entry: &Entry) {
        let state = match &entry.fact {
            Fact::RunBegan { project } => {
                let record = RunRecord {
                    project: project.clone(),
                    began: entry.at,
                    verdict: None,
                };
                self.runs.insert(entry.run.clone(), record);
                return;
            }
            Fact::RunEnded { verdict } => {
                if let Some(run) = self.runs.get_mut(&entry.run) {
                    run.verdict = Some(*verdict);
                }
                return;
            }
            Fact::Intent { candidate, tags } => return self.intend(entry, candidate, tags),
            Fact::Refused { label, token, .. } => return self.refuse(label, token),
            Fact::Gone {
                label,
                is_final,
                attempts,
                ..
            } => return self.leave(label, *is_final, attempts),
            Fact::Extended { label, deadline } => {
                if let Some(held) = self.boxes.get_mut(label) {
                    held.tags.deadline = *deadline;
                }
                return;
            }
            Fact::Kept { label } => {
                if let Some(held) = self.boxes.get_mut(label) {
                    held.is_kept = true;
                }
                return;
            }
            Fact::Up { machine } => {
                if let Some(held) = self.boxes.get_mut(&machine.label) {
                    held.machine = Some(machine.clone());
                    if let Some(attempt) = held.attempts.last_mut() {
                        attempt.is_answered = true;
                    }
                }
                HeldState::Up
            }
            Fact::Unanswered { why, .. } => HeldState::Unknown(why.clone()),
            Fact::DownBegan { .. } => HeldState::Leaving,
            Fact::Left { why, .. } => HeldState::Left(why.clone()),
        };
        if let Some(held) = entry.fact.label().and_then(|label| self.boxes.get_mut(label)) {
            held.state = state;
        }
    }

    fn intend(&mut self, entry: &Entry, candidate: &Candidate, tags: &Tags) {
        let before = self.boxes.remove(&tags.label);
        let looked_for = before.as_ref().map(|held| held.looked_for);
        let mut attempts = before.map(|held| held.attempts).unwrap_or_default();
        attempts.retain(|attempt| attempt.token != tags.token);
        attempts.push(Attempt {
            token: tags.token.clone(),
            provider: candidate.provider.clone(),
            region: candidate.region.clone(),
            is_answered: false,
        });
        let held = Held {
            run: entry.run.clone(),
            candidate: candidate.clone(),
            tags: tags.clone(),
            since: entry.at,
            state: HeldState::Intended,
            machine: None,
            looked_for: looked_for.unwrap_or(tags.deadline).max(tags.deadline),
            is_kept: false,
            attempts,
        };
        self.boxes.insert(tags.label.clone(), held);
    }

    /// A refusal is an answer, but does not end the box: keys and rules may have been made for it before.
    fn refuse(&mut self, label: &Label, token: &Token) {
        let Some(held) = self.boxes.get_mut(label) else {
            return;
        };
        for attempt in held.attempts.iter_mut().filter(|attempt| attempt.token == *token) {
            attempt.is_answered = true;
        }
    }

    fn leave(&mut self, label: &Label, is_final: bool, known: &[Token]) {
        let Some(held) = self.boxes.get_mut(label) else {
            return;
        };
        let is_new = |attempt: &Attempt| !known.is_empty() && !known.contains(&attempt.token);
        let has_new = held.attempts.iter().any(is_new);
        let is_open = |attempt: &Attempt| is_new(attempt) || (!is_final && !attempt.is_answered);
        held.attempts.retain(is_open);
        if held.attempts.is_empty() && is_final {
            self.boxes.remove(label);
        } else if !has_new {
            held.machine = None;
            held.state =
                HeldState::Unknown("a create call was not answered, and its box may turn up late".to_owned());
        }
    }

    /// Returns whether `run` may not use this label, as a box of another run may still have it.
    pub fn is_taken(&self, label: &Label, run: &RunId) -> bool {
        self.boxes.get(label).is_some_and(|held| held.run != *run)
    }

    /// Returns the boxes of one run, by label.
    pub fn boxes_of<'a>(&'a self, run: &'a RunId) -> impl Iterator<Item = (&'a Label, &'a Held)> {
        self.boxes.iter().filter(move |(_, held)| held.run == *run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-02T03:04:05Z";

    fn label(name: &str) -> Label {
        Label::new(name).unwrap()
    }

    fn token(name: &str) -> Token {
        Token::new(name).unwrap()
    }

    /// Reads a story such as `intent a aws 1, refused a 1` and folds it.
    fn story(text: &str) -> Holdings {
        let run = RunId::new("r1").unwrap();
        let entries: Vec<Entry> = text
            .split(", ")
            .map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                let fact = match words[..] {
                    ["intent", name, provider, attempt] => Fact::Intent {
                        candidate: Candidate {
                            provider: ProviderName::new(provider).unwrap(),
                            region: "here".into(),
                            instance_type: "2x4g".into(),
                            image: None,
                            disk_gb: None,
                            options: Box::default(),
                        },
                        tags: Tags {
                            label: label(name),
                            run: run.clone(),
                            token: token(attempt),
                            deadline: Deadline::at_unix(1_800_000_000),
                            owner: crate::tags::Owner::default(),
                        },
                    },
                    ["refused", name, attempt] => Fact::Refused {
                        label: label(name),
                        token: token(attempt),
                        why: "full".into(),
                    },
                    ["unanswered", name] => Fact::Unanswered {
                        label: label(name),
                        why: "timeout".into(),
                    },
                    ["down", name] => Fact::DownBegan { label: label(name) },
                    ["left", name] => Fact::Left {
                        label: label(name),
                        why: "500".into(),
                    },
                    ["gone" | "nothing", name, ref attempts @ ..] => Fact::Gone {
                        label: label(name),
                        resources: vec![],
                        is_final: words[0] == "gone",
                        attempts: attempts.iter().map(|attempt| token(attempt)).collect(),
                    },
                    ["extended", name] => Fact::Extended {
                        label: label(name),
                        deadline: Deadline::at_unix(1_900_000_000),
                    },
                    _ => panic!("no such line: {line}"),
                };
                Entry {
                    at: NOW.parse().unwrap(),
                    run: run.clone(),
                    fact,
                }
            })
            .collect();
        Holdings::fold(&entries)
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let held: Vec<String> = story(text)
            .boxes
            .iter()
            .map(|(label, held)| {
                let providers: Vec<&str> = held.providers().iter().map(|name| name.as_str()).collect();
                let state = match held.state {
                    HeldState::Intended => "intended",
                    HeldState::Unknown(_) => "unknown",
                    HeldState::Up => "up",
                    HeldState::Leaving => "leaving",
                    HeldState::Left(_) => "left",
                };
                format!("{label} {state} {}", providers.join("+"))
            })
            .collect();
        assert_eq!(held.join(", "), expected, "{text}");
    }

    #[test]
    fn an_intent_is_held_until_it_is_gone() {
        check("intent aa aws 1", "aa intended aws");
        check("intent aa aws 1, refused aa 1", "aa intended aws");
        check("intent aa aws 1, unanswered aa", "aa unknown aws");
        check("intent aa aws 1, down aa", "aa leaving aws");
        check("intent aa aws 1, down aa, left aa", "aa left aws");
        check("intent aa aws 1, down aa, gone aa", "");
    }

    #[test]
    fn every_provider_that_may_have_the_box_is_known() {
        check(
            "intent aa aws 1, unanswered aa, intent aa gcp 2",
            "aa intended aws+gcp",
        );
        check(
            "intent aa aws 1, unanswered aa, intent aa aws 2, refused aa 2",
            "aa intended aws",
        );
    }

    #[test]
    fn an_attempt_that_began_during_a_destroy_outlives_it() {
        check(
            "intent aa aws 1, down aa, intent aa gcp 2, gone aa 1",
            "aa intended gcp",
        );
        check(
            "intent aa aws 1, down aa, intent aa gcp 2, nothing aa 1",
            "aa intended aws+gcp",
        );
        check("intent aa aws 1, down aa, intent aa gcp 2, gone aa 1 2", "");
    }

    #[test]
    fn an_unanswered_box_that_was_not_found_is_still_looked_for() {
        check(
            "intent aa aws 1, unanswered aa, down aa, nothing aa",
            "aa unknown aws",
        );
        check(
            "intent aa aws 1, unanswered aa, intent aa gcp 2, down aa, nothing aa, gone aa",
            "",
        );
    }

    #[test]
    fn what_was_found_is_not_waited_for() {
        let now = NOW.parse().unwrap();
        let held = &story("intent aa aws 1, unanswered aa").boxes[&label("aa")];
        assert!(!held.is_final(0, true, now));
        assert!(held.is_final(1, true, now));
        assert!(held.is_final(0, false, now));
        assert!(!held.is_final(0, true, held.tags.deadline.moment()));
        assert!(held.is_final(0, true, after(held.tags.deadline.moment(), LATE_MAX)));
        let refused = &story("intent aa aws 1, refused aa 1").boxes[&label("aa")];
        assert!(refused.is_final(0, true, now));
        let two = &story("intent aa aws 1, unanswered aa, intent aa aws 2").boxes[&label("aa")];
        assert!(!two.is_final(2, true, now), "both may be the second attempt's");
    }

    #[test]
    fn a_moved_deadline_is_the_one_in_force() {
        let held = story("intent aa aws 1, extended aa");
        assert_eq!(held.boxes[&label("aa")].tags.deadline.unix(), 1_900_000_000);
    }

    #[test]
    fn a_label_is_taken_by_another_run_only() {
        let held = story("intent aa aws 1");
        assert!(held.is_taken(&label("aa"), &RunId::new("r2").unwrap()));
        assert!(!held.is_taken(&label("aa"), &RunId::new("r1").unwrap()));
        assert!(!held.is_taken(&label("bb"), &RunId::new("r2").unwrap()));
    }
}
