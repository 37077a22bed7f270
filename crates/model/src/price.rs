//! What a box costs.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{money::Money, time::Timestamp};

/// Expected duration of a lane that no earlier run measured.
pub const USUAL: Duration = Duration::from_secs(20 * 60);

/// What is known of the price of a candidate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
        /// What of a begun hour is on the bill.
        #[serde(default)]
        billed: Billed,
    },
    /// Nothing.
    #[default]
    Unknown,
}

/// What a provider reports of the price of one type in one region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// The provider's word for the size.
    pub instance_type: String,
    /// The provider's word for where.
    pub region: String,
    /// What an hour costs; none: the provider names no price for it.
    pub hourly: Option<Money>,
    /// When it was asked for.
    pub asked: Timestamp,
}

impl Quote {
    /// Returns the day on which it was true, such as `2026-11-23`.
    pub fn day(&self) -> String {
        self.asked.strftime("%Y-%m-%d").to_string()
    }
}

/// How the time of a box becomes what is on the bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Billed {
    /// Each begun one of these counts.
    #[serde(rename = "unit_seconds", with = "crate::time::seconds")]
    pub unit: Duration,
    /// Less than this is not billed.
    #[serde(rename = "least_seconds", with = "crate::time::seconds")]
    pub least: Duration,
}

impl Billed {
    /// Each begun second, and a minute at least.
    pub const BY_SECOND: Self = Self {
        unit: Duration::from_secs(1),
        least: Duration::from_secs(60),
    };

    /// Returns the time on the bill of a box that was there for `time`.
    pub fn time(self, time: Duration) -> Duration {
        let unit = self.unit.max(Duration::from_secs(1));
        let begun = time.as_nanos().div_ceil(unit.as_nanos());
        let whole = unit.saturating_mul(u32::try_from(begun).unwrap_or(u32::MAX));
        whole.max(self.least)
    }
}

impl Default for Billed {
    /// Each begun hour: the dearest way that is in use.
    fn default() -> Self {
        Self {
            unit: Duration::from_secs(3600),
            least: Duration::ZERO,
        }
    }
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
        Some(Cost {
            estimated: self.for_time(usual.min(ttl))?,
            worst: self.for_time(ttl)?,
        })
    }

    /// Returns what is on the bill for a box that was there for `time`. None: nothing, or it is not known.
    pub fn for_time(&self, time: Duration) -> Option<Money> {
        match self {
            Self::Hourly { amount, billed, .. } => Some(amount.for_time(billed.time(time))),
            Self::Free | Self::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn hourly(text: &str) -> Price {
        Price::Hourly {
            amount: Money::parse(text).unwrap(),
            day: "2026-11-23".to_owned(),
            billed: Billed::BY_SECOND,
        }
    }

    #[test]
    fn the_estimate_never_exceeds_the_worst_case() {
        let cost = hourly("3 USD").cost(HOUR * 5, HOUR).unwrap();
        assert_eq!(cost.estimated, cost.worst);
        let cost = hourly("3 USD").cost(USUAL, HOUR * 2).unwrap();
        assert_eq!(cost.estimated, Money::parse("1 USD").unwrap());
        assert_eq!(cost.worst, Money::parse("6 USD").unwrap());
    }

    #[test]
    fn begun_hours_and_short_minutes_are_on_the_bill() {
        let by_hour = Billed::default();
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert_eq!(by_hour.time(minutes(1)), HOUR);
        assert_eq!(by_hour.time(HOUR), HOUR);
        assert_eq!(by_hour.time(minutes(61)), HOUR * 2);
        assert_eq!(by_hour.time(Duration::ZERO), Duration::ZERO);
        assert_eq!(Billed::BY_SECOND.time(minutes(61)), minutes(61));
        assert_eq!(Billed::BY_SECOND.time(Duration::from_millis(1500)), minutes(1));
        assert_eq!(
            Billed::BY_SECOND.time(Duration::from_millis(90_500)),
            Duration::from_secs(91)
        );
        let whole = Price::Hourly {
            amount: Money::parse("3 USD").unwrap(),
            day: String::new(),
            billed: by_hour,
        };
        assert_eq!(
            whole.cost(USUAL, HOUR * 2).unwrap().estimated,
            Money::parse("3 USD").unwrap()
        );
    }
}
