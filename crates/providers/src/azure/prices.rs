//! What a box costs at Azure, for planning without a call.

use model::money::Money;

/// The day on which the table was true.
pub(super) const DAY: &str = "2026-06-30";

/// Millionths of a dollar for an hour in `eastus`, Linux, pay as you go. The disk and the address are not in it.
const HOURLY: [(&str, i64); 7] = [
    ("Standard_D2s_v5", 96_000),
    ("Standard_D4s_v5", 192_000),
    ("Standard_D8s_v5", 384_000),
    ("Standard_D4as_v5", 172_000),
    ("Standard_D4s_v3", 192_000),
    ("Standard_F4s_v2", 169_000),
    ("Standard_E4s_v5", 252_000),
];

/// Returns the price of an hour.
pub(super) fn hourly(size: &str, region: &str) -> Option<Money> {
    if region != "eastus" {
        return None;
    }
    let (_, micros) = HOURLY.into_iter().find(|(name, _)| *name == size)?;
    Some(Money {
        micros,
        currency: "USD".to_owned(),
    })
}
