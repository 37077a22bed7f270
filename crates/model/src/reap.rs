//! Picks the boxes to destroy. The caller lists before and destroys after.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::{
    journal::{Held, Holdings},
    machine::Listed,
    name::{Label, ProviderName, RunId},
    tags::{Owner, Tags},
    time::Timestamp,
};

/// What this machine's journal and its locks say.
#[derive(Debug, Clone, Default)]
pub struct JournalView {
    /// What may be owned.
    pub holdings: Holdings,
    /// The runs that a live process of this machine holds.
    pub alive: BTreeSet<RunId>,
    /// The runs that are known to have ended.
    pub ended: BTreeSet<RunId>,
}

impl JournalView {
    fn is_kept(&self, tags: &Tags) -> bool {
        let held = self.holdings.boxes.get(&tags.label);
        held.is_some_and(|held| held.run == tags.run && held.is_kept)
    }
}

/// One box that is to be destroyed, or what is left of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReapTarget {
    /// Its name.
    pub label: Label,
    /// The run that it was made for: another one may have a box of the same name elsewhere.
    pub run: RunId,
    /// Who it belongs to.
    pub owner: Owner,
    /// Why it is to be destroyed.
    pub why: String,
    /// What is listed of it; nothing when only the journal knows of it.
    pub things: Vec<(ProviderName, Listed)>,
}

/// What is to be destroyed, and what has to be left to a person.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Picked {
    /// In order of label and run.
    pub targets: Vec<ReapTarget>,
    /// Ours by the tag, but nothing else of it can be read.
    pub unreadable: Vec<(ProviderName, Listed)>,
    /// How many boxes and parts of boxes are ours, and are left alone.
    pub kept: usize,
}

/// What a provider lists, with its tags read.
type Tagged = (ProviderName, Listed, Tags);

/// Picks what is to be destroyed: what is overdue, and what a run left that is known to have ended. Never what a live
/// run has, nor what its user keeps, before its deadline. `now` is each provider's clock where it reports one.
pub fn pick(
    listed: Vec<(ProviderName, Listed)>,
    known: &JournalView,
    now: impl Fn(&ProviderName) -> Timestamp,
) -> Picked {
    let mut picked = Picked::default();
    let mut targets = BTreeMap::new();
    let mut groups: BTreeMap<(Label, RunId), Vec<Tagged>> = BTreeMap::new();
    for (provider, listed) in listed {
        match listed.tags.clone() {
            Some(tags) => {
                let group = groups.entry((tags.label.clone(), tags.run.clone())).or_default();
                group.push((provider, listed, tags));
            }
            // Damaged tags: it is ours, and nothing says until when. A person has to look.
            None => picked.unreadable.push((provider, listed)),
        }
    }
    for (key, group) in groups {
        let Some(why) = why_targeted(&group, known, &now) else {
            picked.kept += group.len();
            continue;
        };
        let (label, run) = key.clone();
        let owner = group[0].2.owner.clone();
        let things = group
            .into_iter()
            .map(|(provider, listed, _)| (provider, listed))
            .collect();
        targets.insert(
            key,
            ReapTarget {
                label,
                run,
                owner,
                why,
                things,
            },
        );
    }
    for (label, held) in orphans(&known.holdings, &known.alive, now) {
        let why = format!("its run {} was left unfinished", held.run);
        let key = (label.clone(), held.run.clone());
        targets.entry(key).or_insert_with(|| ReapTarget {
            label: label.clone(),
            run: held.run.clone(),
            owner: held.tags.owner.clone(),
            why,
            things: Vec::new(),
        });
    }
    picked.targets = targets.into_values().collect();
    picked
}

/// Says why what is listed of one label and run is to be destroyed, if it is. What an earlier attempt left may have an
/// earlier deadline than the box: it goes with the box, as both have the same name.
fn why_targeted(
    group: &[(ProviderName, Listed, Tags)],
    known: &JournalView,
    now: impl Fn(&ProviderName) -> Timestamp,
) -> Option<String> {
    let (_, _, tags) = group.iter().max_by_key(|(_, _, tags)| tags.deadline)?;
    let is_overdue = group
        .iter()
        .all(|(provider, _, tags)| tags.deadline.is_over(now(provider)));
    if is_overdue {
        return Some(format!("its deadline was {}", tags.deadline.moment()));
    }
    let has_ended = known.ended.contains(&tags.run) && !known.alive.contains(&tags.run);
    (has_ended && !known.is_kept(tags)).then(|| format!("its run {} has ended", tags.run))
}

/// Returns the boxes that a dead process left, and that nobody asked to keep until now. `now` is the moment by the
/// clock of the provider that was asked last.
pub fn orphans<'a>(
    holdings: &'a Holdings,
    alive: &BTreeSet<RunId>,
    now: impl Fn(&ProviderName) -> Timestamp,
) -> Vec<(&'a Label, &'a Held)> {
    holdings
        .boxes
        .iter()
        .filter(|(_, held)| !alive.contains(&held.run))
        .filter(|(_, held)| !held.is_kept || held.tags.deadline.is_over(now(&held.candidate.provider)))
        .collect()
}

/// Picks what older runs of the same repository and reference have, which a new run of these takes the place of, alive
/// or not. Run ids sort by time.
pub fn superseded(listed: Vec<(ProviderName, Listed)>, owner: &Owner, run: &RunId) -> Vec<ReapTarget> {
    if owner.repository.is_none() || owner.reference.is_none() {
        return Vec::new();
    }
    let mut targets: BTreeMap<(Label, RunId), ReapTarget> = BTreeMap::new();
    for (provider, listed) in listed {
        let Some(tags) = listed.tags.clone() else { continue };
        if tags.run >= *run || !tags.owner.is_same_change(owner) {
            continue;
        }
        let new = ReapTarget {
            label: tags.label.clone(),
            run: tags.run.clone(),
            owner: tags.owner,
            why: format!("run {run} takes its place"),
            things: Vec::new(),
        };
        let target = targets.entry((tags.label, tags.run)).or_insert(new);
        target.things.push((provider, listed));
    }
    targets.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        candidate::Candidate,
        journal::{Entry, Fact},
        machine::ResourceKind,
        name::Token,
        time::Deadline,
        verdict::Verdict,
    };

    /// The moment of every test, in Unix seconds.
    const NOW: i64 = 1_800_000_000;

    fn provider() -> ProviderName {
        ProviderName::new("aws").unwrap()
    }

    fn tags(label: &str, run: &str, is_overdue: bool, reference: Option<&str>) -> Tags {
        Tags {
            label: Label::new(label).unwrap(),
            run: RunId::new(run).unwrap(),
            token: Token::new(format!("{label}-1")).unwrap(),
            deadline: Deadline::at_unix(if is_overdue { NOW - 60 } else { NOW + 60 }),
            owner: Owner {
                repository: reference.map(|_| "acme-mvm".to_owned()),
                reference: reference.map(str::to_owned),
                ..Owner::default()
            },
        }
    }

    /// Reads `m1 run=a overdue, disk m1 run=a, damaged`: what is listed.
    fn listed(text: &str) -> Vec<(ProviderName, Listed)> {
        let lines = text.split(", ").filter(|line| !line.is_empty());
        let listed = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key));
            let is_disk = words[0] == "disk";
            let label = words[usize::from(is_disk)];
            let tags = (label != "damaged").then(|| {
                tags(
                    label,
                    value("run=").unwrap(),
                    words.contains(&"overdue"),
                    value("ref="),
                )
            });
            Listed {
                kind: if is_disk {
                    ResourceKind::Disk
                } else {
                    ResourceKind::Machine
                },
                id: label.to_owned(),
                region: "here".into(),
                tags,
                state: "running".into(),
                address: None,
                instance_type: None,
            }
        };
        lines.map(|line| (provider(), listed(line))).collect()
    }

    /// Reads `up m1 run=a, kept m1 run=a, ended run=a, alive run=b`: what the journal and the locks say.
    fn known(text: &str) -> JournalView {
        let mut known = JournalView::default();
        let mut entries = Vec::new();
        for line in text.split(", ").filter(|line| !line.is_empty()) {
            let (head, run) = line.split_once("run=").unwrap();
            let words: Vec<&str> = head.split_whitespace().collect();
            let run = RunId::new(run.split(' ').next().unwrap()).unwrap();
            let fact = match words[..] {
                ["up", label] => Fact::Intent {
                    candidate: Candidate {
                        provider: provider(),
                        region: "here".into(),
                        instance_type: "2x4g".into(),
                        image: None,
                        disk_gb: None,
                        options: Box::default(),
                    },
                    tags: tags(label, run.as_str(), line.ends_with("overdue"), None),
                },
                ["kept", label] => Fact::Kept {
                    label: Label::new(label).unwrap(),
                },
                ["ended"] => {
                    known.ended.insert(run.clone());
                    Fact::RunEnded {
                        verdict: Verdict::Passed,
                    }
                }
                ["alive"] => {
                    known.alive.insert(run.clone());
                    Fact::RunBegan {
                        project: "mvm".into(),
                    }
                }
                _ => panic!("no such line: {line}"),
            };
            entries.push(Entry {
                at: Timestamp::from_second(NOW).unwrap(),
                run,
                fact,
            });
        }
        known.holdings = Holdings::fold(&entries);
        known
    }

    fn names(targets: &[ReapTarget]) -> String {
        let names: Vec<String> = targets
            .iter()
            .map(|it| format!("{}/{}", it.label, it.run))
            .collect();
        names.join(" ")
    }

    #[track_caller]
    fn check(is_listed: &str, journal: &str, targets: &str) -> Picked {
        let now = Timestamp::from_second(NOW).unwrap();
        let picked = pick(listed(is_listed), &known(journal), |_| now);
        assert_eq!(names(&picked.targets), targets, "{is_listed} with {journal}");
        picked
    }

    #[test]
    fn box_of_a_live_run_is_left_alone() {
        check("m1 run=a", "alive run=a, up m1 run=a", "");
        check("m1 run=a, disk m1 run=a", "alive run=a", "");
    }

    #[test]
    fn box_of_nobody_we_know_is_left_alone_until_its_deadline() {
        let picked = check("m1 run=b", "", "");
        assert_eq!(picked.kept, 1);
        check("m1 run=b overdue", "", "m1/b");
    }

    #[test]
    fn a_deadline_counts_for_a_live_run_too() {
        check("m1 run=a overdue", "alive run=a, up m1 run=a", "m1/a");
    }

    #[test]
    fn box_of_a_run_that_has_ended_goes_and_so_does_what_is_left_of_it() {
        check("m1 run=a", "ended run=a", "m1/a");
        let picked = check("disk m1 run=a", "ended run=a", "m1/a");
        assert_eq!(picked.targets[0].things.len(), 1);
        let picked = check("m1 run=a, disk m1 run=a", "ended run=a", "m1/a");
        assert_eq!(picked.targets[0].things.len(), 2);
    }

    #[test]
    fn box_that_is_kept_stays_until_its_deadline() {
        check("m1 run=a", "up m1 run=a, kept m1 run=a, ended run=a", "");
        check(
            "m1 run=a overdue",
            "up m1 run=a overdue, kept m1 run=a overdue, ended run=a",
            "m1/a",
        );
    }

    #[test]
    fn a_box_of_the_same_name_that_another_run_keeps_protects_nothing() {
        check("m1 run=b", "up m1 run=a, kept m1 run=a, ended run=b", "m1/b");
    }

    #[test]
    fn box_that_only_the_journal_knows_is_looked_for() {
        check("", "up m1 run=a", "m1/a");
        check("", "up m1 run=a, alive run=a", "");
    }

    #[test]
    fn boxes_of_the_same_name_are_distinguished_by_their_run() {
        check("m1 run=a overdue, m1 run=b", "", "m1/a");
    }

    #[test]
    fn what_is_left_of_an_earlier_attempt_goes_with_the_box() {
        check("disk m1 run=a overdue, m1 run=a", "", "");
        check("disk m1 run=a overdue, m1 run=a overdue", "", "m1/a");
    }

    #[test]
    fn damaged_tags_are_left_to_a_person() {
        let picked = check("damaged", "ended run=a", "");
        assert_eq!(picked.unreadable.len(), 1);
    }

    #[test]
    fn older_runs_of_the_same_change_are_superseded() {
        let owner = Owner {
            repository: Some("acme/mvm".into()),
            reference: Some("pr-17".into()),
            ..Owner::default()
        };
        let run = RunId::new("b").unwrap();
        let all = "m1 run=a ref=pr-17, m2 run=a ref=pr-18, m3 run=c ref=pr-17, m4 run=b ref=pr-17, m5 run=a";
        assert_eq!(names(&superseded(listed(all), &owner, &run)), "m1/a");
        assert_eq!(names(&superseded(listed(all), &Owner::default(), &run)), "");
    }
}
