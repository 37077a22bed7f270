//! What a box costs at AWS, for planning without a call.

use model::money::Money;

/// The day on which the table was true, as far as it is known.
pub(super) const DAY: &str = "2026-08-01";

/// Millionths of a dollar for an hour, on demand, in `us-east-1`. Disk and address are not in it. The types that
/// nest have no surcharge.
const HOURLY: [(&str, i64); 6] = [
    ("c8i.xlarge", 187_000),
    ("m7i.xlarge", 201_600),
    ("m8i.xlarge", 212_000),
    ("c5n.metal", 3_888_000),
    ("m5zn.metal", 3_964_000),
    ("c5.metal", 4_080_000),
];

/// Returns the price of an hour.
pub(super) fn hourly(instance_type: &str, region: &str) -> Option<Money> {
    if !region.starts_with("us-east-1") {
        return None;
    }
    let (_, micros) = HOURLY.into_iter().find(|(name, _)| *name == instance_type)?;
    Some(Money {
        micros,
        currency: "USD".to_owned(),
    })
}
