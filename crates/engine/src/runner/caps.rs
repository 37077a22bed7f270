//! What the boxes of a runner may cost, and what they have cost: decided before a box is begun, from the journal alone.

use std::{collections::BTreeMap, time::Duration};

use model::{
    candidate::Candidate,
    journal::{Entry, Fact},
    money::Money,
    name::Label,
    price::Price,
    time::{Timestamp, between},
};

const HOUR: Duration = Duration::from_secs(3600);

/// What the boxes may cost, one amount for each currency; without any there is no limit.
#[derive(Debug, Clone, Default)]
pub struct Caps {
    /// The prices of the lane's candidates: each box may be the dearest of them.
    pub prices: Vec<Price>,
    /// What all boxes together may cost in an hour.
    pub per_hour: Vec<Money>,
    /// What all boxes together may cost in a day, from midnight UTC on.
    pub per_day: Vec<Money>,
}

impl Caps {
    /// Returns whether there may be so many boxes at once, each of which lives for `ttl` at most, when those that are gone
    /// have cost so much today. What the others could still cost until their deadlines counts as spent.
    pub fn allow(&self, boxes: usize, ttl: Duration, spent: &[Money]) -> bool {
        let fits = |limits: &[Money], length: Duration, spent: &[Money]| {
            limits.iter().all(|limit| {
                let of_it = |amount: &Money| (amount.currency == limit.currency).then_some(amount.micros);
                let dearest = self
                    .prices
                    .iter()
                    .filter_map(|price| of_it(&price.for_time(length)?))
                    .max();
                let boxes = i64::try_from(boxes).unwrap_or(i64::MAX);
                let spent: i64 = spent.iter().filter_map(of_it).sum();
                dearest.is_none_or(|each| spent.saturating_add(each.saturating_mul(boxes)) <= limit.micros)
            })
        };
        fits(&self.per_hour, HOUR, &[]) && fits(&self.per_day, ttl, spent)
    }
}

/// Returns what the boxes of a runner that are gone have cost since midnight UTC, one amount for each currency.
pub fn spent_today(
    entries: &[Entry],
    project: &str,
    now: Timestamp,
    price: impl Fn(&Candidate) -> Price,
) -> Vec<Money> {
    let midnight = now.as_second() - now.as_second().rem_euclid(24 * 3600);
    let midnight = Timestamp::from_second(midnight).unwrap_or(now);
    let mut runs = std::collections::BTreeSet::new();
    let mut made: BTreeMap<Label, (Timestamp, Candidate)> = BTreeMap::new();
    let mut sums: BTreeMap<String, i64> = BTreeMap::new();
    for entry in entries {
        match &entry.fact {
            Fact::RunBegan { project: of } if of == project => drop(runs.insert(&entry.run)),
            _ if !runs.contains(&entry.run) => {}
            Fact::Intent { candidate, tags } => {
                made.insert(tags.label.clone(), (entry.at, candidate.clone()));
            }
            Fact::Gone { label, resources, .. } => {
                let Some((from, candidate)) = made.remove(label) else {
                    continue;
                };
                let time = between(from.max(midnight), entry.at);
                // Of a call that was refused there was nothing.
                if resources.is_empty() || entry.at < midnight {
                    continue;
                }
                if let Some(amount) = price(&candidate).for_time(time) {
                    *sums.entry(amount.currency).or_default() += amount.micros;
                }
            }
            _ => {}
        }
    }
    let sums = sums.into_iter();
    sums.map(|(currency, micros)| Money { micros, currency })
        .collect()
}

#[cfg(test)]
mod tests {
    use model::{
        machine::{Gone, ResourceKind},
        name::{ProviderName, RunId, Token},
        price::Billed,
        tags::{Owner, Tags},
        time::Deadline,
    };

    use super::*;

    fn hourly(text: &str) -> Price {
        Price::Hourly {
            amount: Money::parse(text).unwrap(),
            day: "2026-11-23".to_owned(),
            billed: Billed::BY_SECOND,
        }
    }

    fn limits(text: &str) -> Vec<Money> {
        if text.is_empty() {
            Vec::new()
        } else {
            Money::parse_limits(text).unwrap()
        }
    }

    #[track_caller]
    fn check((per_hour, per_day): (&str, &str), boxes: usize, spent: &str, is_allowed: bool) {
        let caps = Caps {
            prices: vec![hourly("0.50 USD"), hourly("1 USD"), hourly("3 EUR"), Price::Free],
            per_hour: limits(per_hour),
            per_day: limits(per_day),
        };
        assert_eq!(caps.allow(boxes, 2 * HOUR, &limits(spent)), is_allowed);
    }

    #[test]
    fn dearest_candidate_is_what_each_box_may_cost() {
        check(("", ""), 1000, "1000 USD", true);
        check(("4 USD", ""), 4, "", true);
        check(("4 USD", ""), 5, "", false);
        check(("4 USD, 5 EUR", ""), 2, "", false);
    }

    #[test]
    fn what_living_boxes_may_still_cost_counts_as_spent() {
        check(("", "10 USD"), 5, "", true);
        check(("", "10 USD"), 5, "0.01 USD", false);
        check(("", "10 USD"), 1, "8 USD", true);
        check(("", "10 USD"), 1, "8.01 USD", false);
        check(("", "10 USD"), 1, "100 EUR", true);
    }

    /// One box of each line: its run's project, and the hours at which it was asked for and gone.
    fn journal(boxes: &[(&str, i64, i64, bool)]) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (number, &(project, from, to, was_there)) in boxes.iter().enumerate() {
            let label = Label::new(format!("kvm-{number}")).unwrap();
            let run = RunId::new(format!("r{number}")).unwrap();
            let tags = Tags {
                label: label.clone(),
                run: run.clone(),
                token: Token::new(format!("t{number}")).unwrap(),
                deadline: Deadline::at_unix(4_000_000_000),
                owner: Owner::default(),
            };
            let candidate = Candidate {
                provider: ProviderName::new("aws").unwrap(),
                region: "here".into(),
                instance_type: "2x4g".into(),
                image: None,
                disk_gb: None,
                options: Box::default(),
            };
            let machine = Gone {
                kind: ResourceKind::Machine,
                id: "i-1".into(),
            };
            let gone = Fact::Gone {
                label,
                resources: if was_there { vec![machine] } else { vec![] },
                is_final: true,
                attempts: vec![],
            };
            let began = Fact::RunBegan {
                project: project.to_owned(),
            };
            for (hour, fact) in [
                (from, began),
                (from, Fact::Intent { candidate, tags }),
                (to, gone),
            ] {
                entries.push(Entry {
                    at: Timestamp::from_second(86_400 * 20_000 + hour * 3600).unwrap(),
                    run: run.clone(),
                    fact,
                });
            }
        }
        entries
    }

    #[test]
    fn today_begins_at_midnight_and_counts_own_boxes_alone() {
        let entries = journal(&[
            ("runner kvm", -5, -1, true),
            ("runner kvm", -2, 3, true),
            ("runner kvm", 4, 5, true),
            ("runner kvm", 4, 5, false),
            ("runner other", 1, 9, true),
        ]);
        let now = Timestamp::from_second(86_400 * 20_000 + 10 * 3600).unwrap();
        let spent = spent_today(&entries, "runner kvm", now, |_| hourly("1 USD"));
        assert_eq!(spent, limits("4 USD"));
        assert_eq!(spent_today(&entries, "runner kvm", now, |_| Price::Free), []);
    }
}
