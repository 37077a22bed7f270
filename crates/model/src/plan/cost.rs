//! What a candidate costs, and which is too expensive.

use std::time::Duration;

use crate::{candidate::Candidate, money::Money, price::Price, world::Provider};

/// Returns the price of a candidate, as the provider's table has it.
pub fn price_of(candidate: &Candidate, provider: &dyn Provider) -> Price {
    let known = provider.prices().and_then(|prices| {
        let (amount, day) = prices.hourly(&candidate.instance_type, &candidate.region)?;
        Some((amount, day, prices.billed()))
    });
    match known {
        Some((amount, ..)) if amount.micros == 0 => Price::Free,
        Some((amount, day, billed)) => Price::Hourly { amount, day, billed },
        None => Price::Unknown,
    }
}

/// Says why a candidate is not to be taken, as it could cost more than the limit of its currency within `ttl`. What cannot
/// be known could. Without limits nothing is dear.
pub fn why_dear(price: &Price, ttl: Duration, limits: &[Money]) -> Option<String> {
    if limits.is_empty() {
        return None;
    }
    let worst = match worst(price, ttl, limits) {
        Ok(worst) => worst?,
        Err(why) => return Some(why),
    };
    let limit = limits.iter().find(|limit| limit.currency == worst.currency)?;
    let Price::Hourly { amount, .. } = price else {
        return None;
    };
    (worst.micros > limit.micros)
        .then(|| format!("it could cost {worst} until its deadline ({amount} an hour), more than {limit}"))
}

/// Returns what a candidate could cost within `ttl`, none when it is free; or why that cannot be held to the limits.
pub(super) fn worst(price: &Price, ttl: Duration, limits: &[Money]) -> Result<Option<Money>, String> {
    let shown = Money::show_limits(limits);
    let is_limited = |amount: &Money| limits.iter().any(|limit| limit.currency == amount.currency);
    match price {
        Price::Free => Ok(None),
        Price::Unknown => Err(format!(
            "its price is not known, so it could cost more than {shown}"
        )),
        Price::Hourly { amount, .. } if !is_limited(amount) => Err(format!(
            "its price is in {} and `max-cost` is {shown}, and amounts of two currencies are not compared",
            amount.currency
        )),
        Price::Hourly { .. } => Ok(price.for_time(ttl)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::price::Billed;

    const HOUR: Duration = Duration::from_secs(3600);

    fn hourly(text: &str) -> Price {
        Price::Hourly {
            amount: Money::parse(text).unwrap(),
            day: "2026-11-23".to_owned(),
            billed: Billed::BY_SECOND,
        }
    }

    #[track_caller]
    fn check(price: &Price, hours: u32, limit: &str, is_dear: bool) {
        let why = why_dear(price, HOUR * hours, &Money::parse_limits(limit).unwrap());
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
        check(&hourly("0.01 EUR"), 1, "100 USD, 1 EUR", false);
        check(&hourly("1.01 EUR"), 1, "100 USD, 1 EUR", true);
    }
}
