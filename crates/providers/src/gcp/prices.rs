//! What a box costs at Google, for planning without a call. The catalogue has prices per core and per GiB only.

use model::money::Money;

/// The day on which the table was true.
pub(super) const DAY: &str = "2023-08-01";

/// Millionths of a dollar for an hour, on demand, in `us-central1`. The disk and the address are not in it.
const HOURLY: [(&str, i64); 3] = [
    ("n2-standard-4", 194_200),
    ("n1-standard-4", 190_000),
    ("c2-standard-4", 208_800),
];

/// Returns the price of an hour.
pub(super) fn hourly(instance_type: &str, place: &str) -> Option<Money> {
    if !place.starts_with("us-central1") {
        return None;
    }
    let (_, micros) = HOURLY.into_iter().find(|(name, _)| *name == instance_type)?;
    Some(Money {
        micros,
        currency: "USD".to_owned(),
    })
}
