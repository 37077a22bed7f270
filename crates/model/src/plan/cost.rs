//! What a box costs, and who is too dear.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::money::Money;

/// How long a lane is taken to need when no earlier run tells.
pub const USUAL: Duration = Duration::from_secs(20 * 60);

/// What is known of the price of a candidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Price {
    /// It costs nothing: this machine, or one that is there anyway.
    Free,
    /// An hour costs this.
    Hourly {
        /// The amount.
        amount: Money,
        /// The day it was true on, such as `2026-11-23`.
        day: String,
    },
    /// Nothing.
    Unknown,
}

/// What a box is going to cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// When the lane takes as long as usual.
    pub estimated: Money,
    /// When the box lives until its deadline.
    pub worst: Money,
}

impl Price {
    /// Returns what a box costs whose lane usually takes `usual`, and that may live for `ttl`. None: not known.
    /// What is free has no currency either, and costs none.
    pub fn cost(&self, usual: Duration, ttl: Duration) -> Option<Cost> {
        match self {
            Self::Hourly { amount, .. } => Some(Cost {
                estimated: amount.for_time(usual.min(ttl)),
                worst: amount.for_time(ttl),
            }),
            Self::Free | Self::Unknown => None,
        }
    }
}

/// Says why a candidate is not to be taken, as it could cost more than `limit` within `ttl`. What cannot be known could.
pub fn why_dear(price: &Price, ttl: Duration, limit: &Money) -> Option<String> {
    let amount = match price {
        Price::Free => return None,
        Price::Unknown => {
            return Some(format!(
                "its price is not known, so it could cost more than {limit}"
            ));
        }
        Price::Hourly { amount, .. } => amount,
    };
    if amount.currency != limit.currency {
        return Some(format!(
            "its price is in {} and `max-cost` in {}, and amounts of two currencies are not compared",
            amount.currency, limit.currency
        ));
    }
    let worst = amount.for_time(ttl);
    (worst.micros > limit.micros)
        .then(|| format!("it could cost {worst} until its deadline ({amount} an hour), more than {limit}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn hourly(text: &str) -> Price {
        Price::Hourly {
            amount: Money::parse(text).unwrap(),
            day: "2026-11-23".to_owned(),
        }
    }

    #[track_caller]
    fn check(price: &Price, hours: u32, limit: &str, is_dear: bool) {
        let why = why_dear(price, HOUR * hours, &Money::parse(limit).unwrap());
        assert_eq!(why.is_some(), is_dear, "{why:?}");
    }

    #[test]
    fn what_could_cost_more_until_its_deadline_is_dear() {
        check(&hourly("2 USD"), 2, "4 USD", false);
        check(&hourly("2.01 USD"), 2, "4 USD", true);
        check(&Price::Free, 48, "0 USD", false);
    }

    #[test]
    fn what_cannot_be_compared_is_dear() {
        check(&Price::Unknown, 1, "100 USD", true);
        check(&hourly("0.01 EUR"), 1, "100 USD", true);
    }

    #[test]
    fn the_estimate_never_exceeds_the_worst_case() {
        let cost = hourly("3 USD").cost(HOUR * 5, HOUR).unwrap();
        assert_eq!(cost.estimated, cost.worst);
        let cost = hourly("3 USD").cost(USUAL, HOUR * 2).unwrap();
        assert_eq!(cost.estimated, Money::parse("1 USD").unwrap());
        assert_eq!(cost.worst, Money::parse("6 USD").unwrap());
    }
}
