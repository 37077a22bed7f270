//! Amounts of money, exact, with their currency.

use std::{cmp::Reverse, collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// An amount in millionths of a currency's unit. Amounts of two currencies are never added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Millionths of the unit.
    pub micros: i64,
    /// ISO 4217 code, such as `USD`.
    pub currency: String,
}

impl Money {
    /// Reads an amount such as `5 USD` or `0.196 EUR`.
    pub fn parse(text: &str) -> Option<Self> {
        let (amount, currency) = text.trim().split_once(' ')?;
        let currency = currency.trim();
        if currency.len() != 3 || !currency.chars().all(|c| c.is_ascii_uppercase()) {
            return None;
        }
        let (whole, fraction) = amount.split_once('.').unwrap_or((amount, ""));
        let is_number = |digits: &str| digits.chars().all(|c| c.is_ascii_digit());
        if whole.is_empty() || fraction.len() > 6 || !is_number(whole) || !is_number(fraction) {
            return None;
        }
        let micros = whole.parse::<i64>().ok()?.checked_mul(1_000_000)?;
        let rest = format!("{fraction:0<6}").parse::<i64>().ok()?;
        Some(Self {
            micros: micros.checked_add(rest)?,
            currency: currency.to_owned(),
        })
    }

    /// Returns an amount that an API reports as a number, rounded up. None: it is no price.
    pub fn of(amount: f64, currency: &str) -> Option<Self> {
        let micros = (amount * 1_000_000.0 - 1e-6).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is far from the limits of an integer"
        )]
        (0.0..1e15).contains(&micros).then(|| Self {
            micros: micros as i64,
            currency: currency.to_owned(),
        })
    }

    /// Reads amounts such as `5 USD, 4 EUR`, at most one of each currency.
    pub fn parse_limits(text: &str) -> Option<Vec<Self>> {
        let limits: Vec<Self> = text.split(',').map(Self::parse).collect::<Option<_>>()?;
        let is_twice =
            |(index, limit): (usize, &Self)| limits[..index].iter().any(|it| it.currency == limit.currency);
        (!limits.iter().enumerate().any(is_twice)).then_some(limits)
    }

    /// Writes amounts as they are read.
    pub fn show_limits(limits: &[Self]) -> String {
        limits
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// Returns what `time` costs at this amount an hour, each begun second counted.
    pub fn for_time(&self, time: Duration) -> Self {
        let seconds = i128::from(time.as_secs()) + i128::from(time.subsec_nanos() > 0);
        let micros = i128::from(self.micros) * seconds / 3600;
        Self {
            micros: i64::try_from(micros).unwrap_or(i64::MAX),
            currency: self.currency.clone(),
        }
    }
}

/// Returns things in the order of their price, and what has none last. Only amounts of one currency can be put in order,
/// so that what is of each currency stays together, the most frequent currency first. What is free comes before all.
pub fn cheapest_first<T>(mut things: Vec<T>, price: impl Fn(&T) -> Option<Money>) -> Vec<T> {
    let mut by_currency: BTreeMap<String, usize> = BTreeMap::new();
    for price in things.iter().filter_map(&price).filter(|price| price.micros > 0) {
        *by_currency.entry(price.currency).or_default() += 1;
    }
    things.sort_by_cached_key(|thing| match price(thing) {
        Some(price) if price.micros == 0 => (0, Reverse(0), String::new(), 0),
        Some(price) => (
            1,
            Reverse(by_currency[&price.currency]),
            price.currency,
            price.micros,
        ),
        None => (2, Reverse(0), String::new(), 0),
    });
    things
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cents = (self.micros + 5_000) / 10_000;
        if self.micros > 0 && cents < 10 {
            let millis = (self.micros + 500) / 1000;
            return write!(f, "{}.{:03} {}", millis / 1000, millis % 1000, self.currency);
        }
        write!(f, "{}.{:02} {}", cents / 100, cents % 100, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written() {
        let show = |text: &str| Money::parse(text).map(|money| money.to_string());
        assert_eq!(show("5 USD").as_deref(), Some("5.00 USD"));
        assert_eq!(show("0.196 EUR").as_deref(), Some("0.20 EUR"));
        assert_eq!(show("0.012 EUR").as_deref(), Some("0.012 EUR"));
        for wrong in [
            "5",
            "5 usd",
            "-1 USD",
            "1.2.3 USD",
            "five USD",
            ". USD",
            "9999999999999999999 USD",
        ] {
            assert_eq!(show(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn limits_are_one_of_each_currency() {
        let show = |text: &str| Money::parse_limits(text).map(|limits| Money::show_limits(&limits));
        assert_eq!(show("5 USD").as_deref(), Some("5.00 USD"));
        assert_eq!(show("2 USD, 3 EUR").as_deref(), Some("2.00 USD, 3.00 EUR"));
        assert_eq!(
            (show("2 USD, 3 USD"), show("2 USD,"), show("")),
            (None, None, None)
        );
    }

    #[test]
    fn the_cheapest_comes_first_within_its_currency() {
        let words = ["0.30 EUR", "0.20 USD", "-", "0.10 USD", "0 JPY", "0.40 USD"];
        let sorted = cheapest_first(words.to_vec(), |word| Money::parse(word));
        assert_eq!(
            sorted,
            ["0 JPY", "0.10 USD", "0.20 USD", "0.40 USD", "0.30 EUR", "-"]
        );
    }

    #[test]
    fn two_hours_cost_twice_the_hour() {
        let hour = Money::parse("0.20 USD").unwrap();
        assert_eq!(
            hour.for_time(Duration::from_secs(7200)),
            Money::parse("0.40 USD").unwrap()
        );
        assert_eq!(hour.for_time(Duration::ZERO).micros, 0);
    }
}
