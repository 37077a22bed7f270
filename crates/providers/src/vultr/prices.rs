//! What a box costs at Vultr, for planning without a call. The API's own figure is in `preflight`.

use model::money::Money;

/// The day on which the table was true.
pub(super) const DAY: &str = "2026-09-30";

/// Millionths of a dollar for an hour. The address is in it.
const HOURLY: [(&str, i64); 9] = [
    ("vx1-g-4c-16g-240s", 153_000),
    ("vbm-6c-32gb-amd", 410_000),
    ("vbm-8c-132gb-v2", 479_000),
    ("vbm-8c-64gb-amd", 550_000),
    ("vbm-24c-256gb-amd", 993_000),
    ("vbm-24c-384gb-amd", 1_130_000),
    ("vbm-32c-755gb-amd", 1_986_000),
    ("vc2-6c-16gb", 110_000),
    ("voc-c-4c-8gb-150s-amd", 123_000),
];

/// Where it costs more: in Sao Paulo half as much again.
const DEARER: [&str; 1] = ["sao"];

/// Returns the price of an hour.
pub(super) fn hourly(plan: &str, region: &str) -> Option<Money> {
    if DEARER.contains(&region) {
        return None;
    }
    let (_, micros) = HOURLY.into_iter().find(|(name, _)| *name == plan)?;
    Some(Money {
        micros,
        currency: "USD".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_a_price() {
        assert_eq!(
            hourly(super::super::plans::VIRTUAL, "ewr").unwrap().to_string(),
            "0.15 USD"
        );
        assert_eq!(
            hourly(super::super::plans::METAL, "fra").unwrap().to_string(),
            "0.41 USD"
        );
        assert_eq!(hourly("vbm-6c-32gb-amd", "sao"), None);
        assert_eq!(hourly("vbm-4c-32gb", "ewr"), None);
    }
}
