//! What the boxes of a run cost, as far as their prices are known.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    candidate::Candidate,
    event::Event,
    money::Money,
    price::{Cost, Price, USUAL},
    time::{Deadline, Timestamp, between},
};

/// One box that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Stay {
    /// Which.
    pub candidate: Candidate,
    /// What is known of its price.
    pub price: Price,
    /// When it was asked for.
    pub began: Timestamp,
    /// When it must be gone.
    pub deadline: Deadline,
    /// Whether it came to be.
    pub has_been: bool,
    /// When its absence was confirmed.
    pub gone: Option<Timestamp>,
}

/// What boxes cost. Amounts of two currencies stay apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// One for each currency.
    pub amounts: Vec<Money>,
    /// Whether there was a box whose price is not known.
    pub has_unknown: bool,
}

impl Stay {
    /// Returns what it costs, counted from the moment at which it was asked for.
    fn spent(&self, now: Timestamp) -> Spent {
        if !self.has_been {
            return Spent::default();
        }
        let time = between(self.began, self.gone.unwrap_or(now));
        Spent {
            amounts: self.price.for_time(time).into_iter().collect(),
            has_unknown: self.price == Price::Unknown,
        }
    }

    /// Returns what was to be expected of it: for a lane that takes as long as usual, and until its deadline.
    pub fn planned(&self) -> Option<Cost> {
        self.price.cost(USUAL, self.deadline.left(self.began))
    }
}

impl Spent {
    /// Returns whether there was no box, or none that costs anything.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, more: Self) {
        self.has_unknown |= more.has_unknown;
        for amount in more.amounts {
            match self
                .amounts
                .iter_mut()
                .find(|sum| sum.currency == amount.currency)
            {
                Some(sum) => sum.micros = sum.micros.saturating_add(amount.micros),
                None => self.amounts.push(amount),
            }
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> = self.amounts.iter().map(Money::to_string).collect();
        if self.has_unknown {
            parts.push("unknown".to_owned());
        }
        match parts.is_empty() {
            true => f.write_str("nothing"),
            false => f.write_str(&parts.join(" + ")),
        }
    }
}

/// Takes what an event reports of the boxes of a lane.
pub(super) fn take(stays: &mut Vec<Stay>, at: Timestamp, event: &Event) {
    match event {
        Event::CandidateTried {
            candidate,
            deadline,
            price,
            ..
        } => stays.push(Stay {
            candidate: candidate.clone(),
            price: price.clone(),
            began: at,
            deadline: *deadline,
            has_been: false,
            gone: None,
        }),
        Event::MachineUp { .. } => {
            if let Some(stay) = stays.last_mut() {
                stay.has_been = true;
            }
        }
        Event::MachineGone { .. } => {
            for stay in stays.iter_mut().filter(|stay| stay.gone.is_none()) {
                stay.gone = Some(at);
            }
        }
        _ => {}
    }
}

/// Returns what boxes cost until a moment.
pub(super) fn sum<'a>(stays: impl IntoIterator<Item = &'a Stay>, now: Timestamp) -> Spent {
    let mut sum = Spent::default();
    for stay in stays {
        sum.add(stay.spent(now));
    }
    sum
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        machine::Machine,
        name::{Label, ProviderName},
        price::Billed,
    };

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn tried(price: Option<(&str, Billed)>) -> Event {
        Event::CandidateTried {
            candidate: Candidate {
                provider: ProviderName::new("aws").unwrap(),
                region: "here".into(),
                instance_type: "2x4g".into(),
                image: None,
                disk_gb: None,
                options: Box::default(),
            },
            deadline: Deadline::after(at(0), Duration::from_secs(7200)),
            dead_mans_switch: String::new(),
            price: price.map_or(Price::Unknown, |(amount, billed)| Price::Hourly {
                amount: Money::parse(amount).unwrap(),
                day: "2026-11-23".into(),
                billed,
            }),
        }
    }

    fn up() -> Event {
        Event::MachineUp {
            machine: Machine {
                label: Label::new("mvm-live-1").unwrap(),
                provider: ProviderName::new("aws").unwrap(),
                id: "i-1".into(),
                region: "here".into(),
                instance_type: "2x4g".into(),
                address: "203.0.113.7".parse().unwrap(),
                port: 22,
                jump: None,
                host_key: None,
                note: None,
            },
        }
    }

    fn gone() -> Event {
        Event::MachineGone {
            label: Label::new("mvm-live-1").unwrap(),
            resources: Vec::new(),
        }
    }

    #[track_caller]
    fn check(events: &[(i64, Event)], now: i64, expected: &str) {
        let mut stays = Vec::new();
        for (seconds, event) in events {
            take(&mut stays, at(*seconds), event);
        }
        assert_eq!(sum(&stays, at(now)).to_string(), expected);
    }

    #[test]
    fn a_box_costs_from_when_it_was_asked_for_until_it_is_gone() {
        let by_second = Some(("3.60 USD", Billed::BY_SECOND));
        check(&[(0, tried(by_second)), (50, up())], 100, "0.10 USD");
        check(
            &[(0, tried(by_second)), (50, up()), (200, gone())],
            9000,
            "0.20 USD",
        );
        let by_hour = Some(("3.60 USD", Billed::default()));
        check(
            &[(0, tried(by_hour)), (50, up()), (3700, gone())],
            9000,
            "7.20 USD",
        );
    }

    #[test]
    fn what_was_refused_costs_nothing_and_what_is_unknown_is_called_so() {
        let dollars = Some(("3.60 USD", Billed::BY_SECOND));
        let euros = Some(("3.60 EUR", Billed::BY_SECOND));
        check(&[(0, tried(dollars))], 100, "nothing");
        let first = [(0, tried(dollars)), (0, up()), (100, gone())];
        let second = [(100, tried(euros)), (100, up())];
        check(&[&first[..], &second].concat(), 200, "0.10 USD + 0.10 EUR");
        let second = [(100, tried(None)), (100, up())];
        check(&[&first[..], &second].concat(), 200, "0.10 USD + unknown");
    }
}
