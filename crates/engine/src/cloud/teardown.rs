//! Decides what to destroy next, and when all of it is gone. Keeps out: the calls, and waiting.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    time::Duration,
};

use model::{
    error::{ErrorKind, ProviderError},
    machine::{Gone, Listed, ResourceKind},
    name::Label,
    profile::Profile,
    scope::Gap,
};

/// How long after it was asked for a destroy is asked for again, when the thing is still listed; twice as long each time, as
/// some clouds take a quarter of an hour.
const AGAIN: Duration = Duration::from_secs(30);

/// How long what the provider will not destroy has to stay after that: it may be going all the same, with its box or by an order that
/// was taken before.
const REFUSED_MIN: Duration = Duration::from_secs(20);

/// All that was seen of what is to be destroyed.
#[derive(Debug, Default)]
pub(super) struct Teardown {
    /// Whether a part of a box is listed only as long as its box is.
    is_part_hidden: bool,
    /// What the provider itself destroys with a box.
    goes_along: &'static [ResourceKind],
    seen: BTreeMap<Key, TeardownItem>,
}

/// The kind, where it is, and its id: some providers' ids are names, unique in one place only.
type Key = (ResourceKind, String, String);

fn key(listed: &Listed) -> Key {
    (listed.kind, listed.region.clone(), listed.id.clone())
}

#[derive(Debug)]
struct TeardownItem {
    listed: Listed,
    is_listed: bool,
    /// Whether it may exist without being listed.
    is_hidden: bool,
    /// Whether the provider itself destroys it with its box.
    goes_along: bool,
    /// Whether it was listed without its box.
    is_orphan: bool,
    /// When the provider last took the order to destroy it, by the monotonic clock.
    taken: Option<Duration>,
    /// How often it did so.
    orders: u32,
    /// Why the provider will not destroy it.
    refusal: Option<ProviderError>,
    /// When it said so, by the monotonic clock.
    refused: Duration,
}

impl TeardownItem {
    fn is_machine(&self) -> bool {
        self.listed.kind == ResourceKind::Machine
    }

    fn label(&self) -> Option<&Label> {
        self.listed.tags.as_ref().map(|tags| &tags.label)
    }

    /// A machine is gone when it is no longer listed, and so is what goes along with one. What else was made for it is
    /// destroyed by an order of its own; that the provider refused that order counts no more once it is not listed, unless
    /// it was listed through its machine alone.
    fn is_gone(&self) -> bool {
        let is_done = self.refusal.is_some() || self.goes_along;
        !self.is_listed && (self.is_machine() || self.taken.is_some() || (is_done && !self.is_hidden))
    }

    fn is_due(&self, now: Duration) -> bool {
        let again = AGAIN * (1 << self.orders.saturating_sub(1).min(4));
        let is_new = self.taken.is_none_or(|taken| now.saturating_sub(taken) >= again);
        // What goes along is left alone until it shows that it did not.
        let is_left = !self.goes_along || self.is_orphan || self.is_hidden;
        !self.is_gone() && self.refusal.is_none() && is_new && is_left
    }
}

impl Teardown {
    pub(super) fn new(profile: &Profile) -> Self {
        Self {
            is_part_hidden: profile.lists_parts_through_box,
            goes_along: profile.goes_along,
            seen: BTreeMap::new(),
        }
    }

    /// Takes what the provider lists now. Where nobody could look, all is as it was.
    pub(super) fn see(&mut self, listed: Vec<Listed>, gaps: &[Gap]) {
        for item in self.seen.values_mut() {
            let is_unseen = gaps.iter().any(|gap| gap.region == item.listed.region);
            item.is_listed = item.is_listed && is_unseen;
        }
        let machines = listed.iter().filter(|one| one.kind == ResourceKind::Machine);
        let labels: BTreeSet<_> = machines
            .map(|one| one.tags.as_ref().map(|tags| tags.label.clone()))
            .collect();
        for listed in listed {
            let label = listed.tags.as_ref().map(|tags| tags.label.clone());
            let is_orphan = match &label {
                Some(_) => !labels.contains(&label),
                None => labels.is_empty(),
            };
            match self.seen.entry(key(&listed)) {
                Entry::Occupied(mut entry) => {
                    let item = entry.get_mut();
                    item.is_listed = true;
                    item.is_orphan = is_orphan;
                    item.listed = listed;
                }
                Entry::Vacant(entry) => {
                    entry.insert(TeardownItem {
                        goes_along: self.goes_along.contains(&listed.kind),
                        listed,
                        is_listed: true,
                        is_orphan,
                        is_hidden: self.is_part_hidden,
                        taken: None,
                        orders: 0,
                        refusal: None,
                        refused: Duration::ZERO,
                    });
                }
            }
        }
    }

    /// Returns the boxes whose destroy the provider has taken, and that may still be there.
    pub(super) fn going(&self) -> Vec<Listed> {
        let is_going = |item: &&TeardownItem| item.is_machine() && item.is_listed && item.taken.is_some();
        self.seen
            .values()
            .filter(is_going)
            .map(|item| item.listed.clone())
            .collect()
    }

    /// Takes that one thing was not found when it was looked at.
    pub(super) fn miss(&mut self, listed: &Listed) {
        if let Some(item) = self.seen.get_mut(&key(listed)) {
            item.is_listed = false;
        }
    }

    /// Returns what to destroy now: boxes first, then what was made for boxes that are gone.
    pub(super) fn due(&self, now: Duration) -> Vec<Listed> {
        let machines: Vec<_> = self
            .seen
            .values()
            .filter(|item| item.is_machine() && item.is_listed)
            .collect();
        let labels: BTreeSet<_> = machines.iter().filter_map(|machine| machine.label()).collect();
        let is_free = |item: &TeardownItem| match item.label() {
            Some(label) => !labels.contains(label),
            None => machines.is_empty(),
        };
        let due = self.seen.values().filter(|item| item.is_due(now));
        due.filter(|item| item.is_machine() || is_free(item))
            .map(|item| item.listed.clone())
            .collect()
    }

    /// Takes the answer to one destroy. Returns how long the provider wants to be left alone.
    pub(super) fn answered(
        &mut self,
        listed: &Listed,
        now: Duration,
        answer: Result<(), ProviderError>,
    ) -> Option<Duration> {
        let item = self.seen.get_mut(&key(listed))?;
        let Err(error) = answer else {
            item.taken = Some(now);
            item.orders += 1;
            return None;
        };
        match error.kind {
            ErrorKind::NotFound => item.taken = Some(now),
            ErrorKind::RateLimited { retry_after } => return retry_after,
            ErrorKind::Unavailable | ErrorKind::Unanswered | ErrorKind::NotYet => {}
            ErrorKind::NoCapacity
            | ErrorKind::QuotaReached
            | ErrorKind::Unauthorized
            | ErrorKind::Invalid
            | ErrorKind::NoKvm
            | ErrorKind::Taken => {
                item.refusal = Some(error);
                item.refused = now;
            }
        }
        None
    }

    /// Returns whether a box was among what was seen.
    pub(super) fn has_machine(&self) -> bool {
        self.seen.values().any(TeardownItem::is_machine)
    }

    /// Returns whether nothing was seen.
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// Returns whether all that was seen is gone.
    pub(super) fn is_over(&self) -> bool {
        self.seen.values().all(TeardownItem::is_gone)
    }

    /// Returns whether the provider has refused to destroy all that is left, and it has stayed.
    pub(super) fn is_stuck(&self, now: Duration) -> bool {
        let mut left = self.left().peekable();
        left.peek().is_some()
            && left.all(|item| item.refusal.is_some() && now.saturating_sub(item.refused) >= REFUSED_MIN)
    }

    /// Returns all that is gone.
    pub(super) fn gone(&self) -> Vec<Gone> {
        let gone = |item: &TeardownItem| Gone {
            kind: item.listed.kind,
            id: item.listed.id.clone(),
        };
        self.seen
            .values()
            .filter(|item| item.is_gone())
            .map(gone)
            .collect()
    }

    /// Returns what that is left means for us, and names it.
    pub(super) fn remaining(&self) -> (ErrorKind, String) {
        let kind = self
            .left()
            .find_map(|item| item.refusal.as_ref())
            .map(|error| error.kind.clone());
        let name = |item: &TeardownItem| {
            let why = match &item.refusal {
                Some(error) => error.cause.clone(),
                None => format!("still listed as {}", item.listed.state),
            };
            format!(
                "{} {} in {}: {why}",
                item.listed.kind, item.listed.id, item.listed.region
            )
        };
        let names: Vec<_> = self.left().map(name).collect();
        (kind.unwrap_or(ErrorKind::Unavailable), names.join("; "))
    }

    fn left(&self) -> impl Iterator<Item = &TeardownItem> {
        self.seen.values().filter(|item| !item.is_gone())
    }
}

#[cfg(test)]
mod tests {
    use model::{
        name::{ProviderName, RunId, Token},
        tags::{Owner, Tags},
        time::Deadline,
    };

    use super::*;

    const KINDS: [(&str, ResourceKind); 3] = [
        ("m", ResourceKind::Machine),
        ("f", ResourceKind::Firewall),
        ("a", ResourceKind::Address),
    ];

    /// `m1@web` is box m1 of label web; without a label its tags are damaged.
    fn listed(word: &str) -> Listed {
        let (id, label) = word
            .split_once('@')
            .map_or((word, None), |(id, label)| (id, Some(label)));
        let (_, kind) = KINDS
            .into_iter()
            .find(|(first, _)| id.starts_with(first))
            .unwrap();
        let tags = label.map(|label| Tags {
            label: Label::new(label).unwrap(),
            run: RunId::new("r1").unwrap(),
            token: Token::new("t1").unwrap(),
            deadline: Deadline::at_unix(0),
            owner: Owner::default(),
        });
        let (id, region) = (id.to_owned(), "here".to_owned());
        Listed {
            kind,
            id,
            region,
            tags,
            state: "running".into(),
            address: None,
            instance_type: None,
        }
    }

    fn words(words: &str) -> Vec<Listed> {
        words.split_whitespace().map(listed).collect()
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn error(kind: ErrorKind) -> ProviderError {
        ProviderName::new("p1").unwrap().error(kind, "destroy", "no")
    }

    /// After each listing in turn, all that is due is destroyed without objection; then `due` is due.
    #[track_caller]
    fn check(listings: &[&str], due: &str) -> Teardown {
        let mut teardown = Teardown::default();
        for listing in &listings[..listings.len() - 1] {
            teardown.see(words(listing), &[]);
            for listed in teardown.due(at(0)) {
                teardown.answered(&listed, at(0), Ok(()));
            }
        }
        teardown.see(words(listings[listings.len() - 1]), &[]);
        let found: Vec<_> = teardown.due(at(1)).into_iter().map(|listed| listed.id).collect();
        assert_eq!(
            found,
            words(due).into_iter().map(|listed| listed.id).collect::<Vec<_>>()
        );
        teardown
    }

    #[test]
    fn boxes_go_before_what_was_made_for_them() {
        check(&["m1@web f1@web"], "m1");
        check(&["m1@web f1@web", "f1@web"], "f1");
        check(&["m1@web f1@web f2@old"], "m1 f2");
    }

    #[test]
    fn what_has_damaged_tags_goes_when_no_box_is_left() {
        check(&["m1@web f1"], "m1");
        check(&["m1@web f1", "f1"], "f1");
    }

    #[test]
    fn what_was_listed_through_its_box_is_destroyed_too() {
        let teardown = check(&["m1@web a1@web", ""], "a1");
        assert!(!teardown.is_over());
        let teardown = check(&["m1@web a1@web", "", ""], "");
        assert!(teardown.is_over());
        assert_eq!(teardown.gone().len(), 2);
    }

    #[test]
    fn what_goes_along_is_left_alone_until_it_stays() {
        let mut teardown = Teardown {
            goes_along: &[ResourceKind::Address],
            ..Teardown::default()
        };
        teardown.see(words("m1@web a1@web a2@web f1@web"), &[]);
        let ids = |due: Vec<Listed>| due.into_iter().map(|listed| listed.id).collect::<Vec<_>>();
        assert_eq!(ids(teardown.due(at(0))), ["m1"]);
        teardown.answered(&listed("m1@web"), at(0), Ok(()));
        teardown.miss(&listed("m1@web"));
        assert_eq!(
            ids(teardown.due(at(1))),
            ["f1"],
            "no list has shown that they stay"
        );
        teardown.answered(&listed("f1@web"), at(1), Ok(()));
        teardown.see(words("a2@web"), &[]);
        assert_eq!(ids(teardown.due(at(2))), ["a2"]);
        teardown.answered(&listed("a2@web"), at(2), Ok(()));
        teardown.see(Vec::new(), &[]);
        assert!(teardown.is_over());
        assert_eq!(teardown.gone().len(), 4);
    }

    #[test]
    fn an_order_that_was_taken_is_not_the_end() {
        let teardown = check(&["m1@web", "m1@web"], "");
        assert!(!teardown.is_over());
        let due = teardown.due(at(60));
        assert_eq!(due.len(), 1, "it is asked for again after a while");
    }

    #[test]
    fn what_is_no_longer_listed_was_not_refused() {
        for is_part_hidden in [false, true] {
            let mut teardown = Teardown {
                is_part_hidden,
                ..Teardown::default()
            };
            teardown.see(words("m1@web a1@web"), &[]);
            teardown.answered(&listed("a1@web"), at(0), Err(error(ErrorKind::Unauthorized)));
            teardown.see(Vec::new(), &[]);
            assert_eq!(teardown.is_over(), !is_part_hidden);
        }
    }

    #[test]
    fn nothing_goes_where_nobody_can_look() {
        let mut teardown = Teardown::default();
        let gap = |region: &str| Gap {
            region: region.to_owned(),
            error: error(ErrorKind::Unavailable),
        };
        teardown.see(words("m1@web"), &[]);
        teardown.see(Vec::new(), &[gap("here")]);
        assert!(!teardown.is_over());
        teardown.see(Vec::new(), &[gap("there")]);
        assert!(teardown.is_over());
    }

    #[test]
    fn what_the_provider_refuses_is_named_and_the_rest_still_goes() {
        let mut teardown = Teardown::default();
        teardown.see(words("m1@web m2@web"), &[]);
        teardown.answered(&listed("m1@web"), at(0), Err(error(ErrorKind::Unauthorized)));
        teardown.answered(&listed("m2@web"), at(0), Err(error(ErrorKind::Unavailable)));
        teardown.see(words("m1@web"), &[]);
        assert!(!teardown.is_stuck(at(1)), "it may be going all the same");
        assert!(teardown.is_stuck(REFUSED_MIN));
        let (kind, names) = teardown.remaining();
        assert_eq!(kind, ErrorKind::Unauthorized);
        assert!(names.contains("box m1") && !names.contains("m2"), "{names}");
    }
}
