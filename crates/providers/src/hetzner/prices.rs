//! What a box costs at Hetzner, for planning without a call. The API's own figure is in `preflight`.

use model::money::Money;

/// The day on which the table was true.
pub(super) const DAY: &str = "2026-09-08";

/// Hours that a month is billed as, at most.
const HOURS: i64 = 624;

/// Cents of a euro for a month, without VAT, in the European locations.
const MONTHLY: [(&str, i64); 13] = [
    ("cx23", 549),
    ("cx33", 849),
    ("cx43", 1599),
    ("cx53", 2949),
    ("cpx22", 1949),
    ("cpx32", 3549),
    ("cpx42", 6949),
    ("cpx52", 10049),
    ("cpx62", 12999),
    ("ccx13", 4299),
    ("ccx23", 8599),
    ("ccx33", 13849),
    ("ccx43", 27599),
];

/// Where the table holds. The United States and Singapore cost up to three times as much.
const PLACES: [&str; 3] = ["fsn1", "nbg1", "hel1"];

/// Returns the price of an hour, rounded up.
pub(super) fn hourly(instance_type: &str, region: &str) -> Option<Money> {
    if !PLACES.contains(&region) {
        return None;
    }
    let (_, cents) = MONTHLY.into_iter().find(|(name, _)| *name == instance_type)?;
    let micros = (cents * 10_000 + HOURS - 1) / HOURS;
    Some(Money {
        micros,
        currency: "EUR".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_a_share_of_the_month() {
        assert_eq!(hourly("cx43", "nbg1").unwrap().to_string(), "0.026 EUR");
        assert_eq!(hourly("ccx23", "hel1").unwrap().to_string(), "0.14 EUR");
        assert_eq!(hourly("cx43", "ash"), None);
        assert_eq!(hourly("cpx51", "nbg1"), None);
    }
}
