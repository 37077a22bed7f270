//! Reads the table that is compiled in.

use std::sync::LazyLock;

use model::{lane::KvmNeed, money::Money};

use super::Knowledge;

const TABLE: &str = include_str!("table.tsv");

/// One line of the table: facts, each with its day and its source. `-` stands for what is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Who gives it.
    pub provider: &'static str,
    /// The provider's word for the size.
    pub instance_type: &'static str,
    /// Where the price holds.
    pub regions: Vec<&'static str>,
    /// `x86_64` or `aarch64`.
    pub arch: &'static str,
    /// How many CPUs it has.
    pub vcpus: Option<u32>,
    /// Its memory.
    pub memory_gb: Option<u32>,
    /// What its KVM is, where it has one: nested or on hardware.
    pub kind: KvmNeed,
    /// What an hour costs.
    pub price: Option<Money>,
    /// The day on which the price was true, as closely as it is known: a day, a month or a year.
    pub price_day: Option<&'static str>,
    /// How its KVM is known.
    pub kvm: Knowledge,
    /// The day on which that was so.
    pub kvm_day: Option<&'static str>,
    /// Who says so.
    pub source: &'static str,
}

/// Returns the table.
pub fn rows() -> &'static [Row] {
    static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
        lines()
            // A test reads every line.
            .map(|line| {
                read(line).unwrap_or_else(|| panic!("the table of KVM has a line that says nothing: {line}"))
            })
            .collect()
    });
    &ROWS
}

/// Returns the lines that hold facts: neither comments nor the head.
fn lines() -> impl Iterator<Item = &'static str> {
    TABLE.lines().filter(|line| !line.starts_with('#')).skip(1)
}

fn read(line: &'static str) -> Option<Row> {
    let fields: Vec<&'static str> = line.split('\t').collect();
    let &[
        provider,
        instance_type,
        regions,
        arch,
        vcpus,
        memory,
        kind,
        price,
        price_day,
        kvm,
        kvm_day,
        source,
    ] = fields.as_slice()
    else {
        return None;
    };
    let known = |text: &'static str| (text != "-").then_some(text);
    Some(Row {
        provider,
        instance_type,
        regions: known(regions).map_or(Vec::new(), |regions| regions.split(',').collect()),
        arch,
        vcpus: known(vcpus).map(str::parse).transpose().ok()?,
        memory_gb: known(memory).map(str::parse).transpose().ok()?,
        kind: match kind {
            "nested" => KvmNeed::Nested,
            "metal" => KvmNeed::Metal,
            _ => return None,
        },
        price: match known(price) {
            Some(price) => Some(Money::parse(price)?),
            None => None,
        },
        price_day: known(price_day),
        kvm: match kvm {
            "observed" => Knowledge::Observed,
            "documented" => Knowledge::Documented,
            "none" => Knowledge::None,
            "unknown" => Knowledge::Unknown,
            _ => return None,
        },
        kvm_day: known(kvm_day),
        source,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_line_is_a_fact() {
        let lines: Vec<_> = lines().collect();
        assert!(lines.len() > 250);
        for line in lines {
            let row = read(line).unwrap_or_else(|| panic!("{line}"));
            assert!(["x86_64", "aarch64"].contains(&row.arch), "{line}");
            assert_eq!(
                row.price.is_some(),
                row.price_day.is_some(),
                "a price has a day: {line}"
            );
            if row.price.is_some() {
                assert!(
                    !row.regions.is_empty() && row.vcpus.is_some() && row.memory_gb.is_some(),
                    "{line}"
                );
            }
            let is_observed = matches!(row.kvm, Knowledge::Observed | Knowledge::None);
            assert!(
                !is_observed || row.kvm_day.is_some(),
                "an observation has a day: {line}"
            );
            assert!(
                row.kvm == Knowledge::Unknown || known_source(row.source),
                "{line}"
            );
        }
    }

    fn known_source(source: &str) -> bool {
        source.len() > 1
    }

    #[test]
    fn no_type_stands_there_twice() {
        let mut seen = BTreeSet::new();
        for row in rows() {
            assert!(seen.insert((row.provider, row.instance_type)), "{row:?}");
        }
    }
}
