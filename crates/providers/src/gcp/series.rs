//! What is known of Compute Engine's machine types: no field of the API says which can nest.

use model::lane::KvmNeed;

/// Series on which nested virtualisation is documented and was seen. Intel alone is no promise: E2 and C4N lack it.
const NESTED: [&str; 6] = ["n1", "n2", "c2", "c3", "n4", "c4"];

/// Series that take no persistent disk.
const HYPERDISK: [&str; 11] = [
    "c4", "c4a", "c4d", "c4n", "n4", "n4a", "n4d", "a3", "x4", "h4d", "m4",
];

/// Returns the series of a type: `n2` of `n2-standard-4`.
pub(super) fn series(instance_type: &str) -> &str {
    instance_type.split('-').next().unwrap_or_default()
}

/// Returns whether a type is hardware of its own.
pub(super) fn is_metal(instance_type: &str) -> bool {
    instance_type.ends_with("-metal")
}

/// Returns the disk type that a machine type takes.
pub(super) fn disk_type(instance_type: &str) -> &'static str {
    if is_metal(instance_type) || HYPERDISK.contains(&series(instance_type)) {
        "hyperdisk-balanced"
    } else {
        "pd-balanced"
    }
}

/// Returns whether nested virtualisation is to be switched on.
pub(super) fn is_nested(instance_type: &str, need: KvmNeed) -> bool {
    need.is_needed() && !is_metal(instance_type)
}

/// Says why a type cannot serve a lane, and what can. None: it can.
pub(super) fn why_not(instance_type: &str, need: KvmNeed) -> Option<(String, &'static str)> {
    let can_nest = NESTED.contains(&series(instance_type)) && !is_metal(instance_type);
    let metal = "use c3-standard-192-metal or c4-standard-288-metal";
    let nested = "use a type of n1, n2, c2, c3, n4 or c4, such as n2-standard-4";
    match need {
        KvmNeed::None => None,
        KvmNeed::Required if can_nest || is_metal(instance_type) => None,
        KvmNeed::Nested if can_nest => None,
        KvmNeed::Metal if is_metal(instance_type) => None,
        KvmNeed::Metal => Some((
            format!("{instance_type} is no bare metal, and the lane asks for it"),
            metal,
        )),
        KvmNeed::Nested if is_metal(instance_type) => Some((
            format!("{instance_type} is bare metal, and the lane asks for nested KVM"),
            nested,
        )),
        KvmNeed::Required | KvmNeed::Nested => {
            let why = "E2, C4N, AMD, Arm and memory-optimised types have no nested virtualisation";
            Some((format!("{instance_type} is not known to give KVM: {why}"), nested))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(instance_type: &str, needs: &[KvmNeed]) {
        let all = [KvmNeed::None, KvmNeed::Required, KvmNeed::Nested, KvmNeed::Metal];
        let served: Vec<_> = all
            .into_iter()
            .filter(|need| why_not(instance_type, *need).is_none())
            .collect();
        assert_eq!(served, needs, "{instance_type}");
    }

    #[test]
    fn a_type_serves_what_its_series_can() {
        check(
            "n2-standard-4",
            &[KvmNeed::None, KvmNeed::Required, KvmNeed::Nested],
        );
        check(
            "c3-standard-192-metal",
            &[KvmNeed::None, KvmNeed::Required, KvmNeed::Metal],
        );
        for without in [
            "e2-standard-4",
            "n2d-standard-4",
            "t2a-standard-4",
            "c4n-standard-4",
            "m3-ultramem-32",
        ] {
            check(without, &[KvmNeed::None]);
        }
    }

    #[test]
    fn newer_series_take_other_disks() {
        assert_eq!(disk_type("n2-standard-4"), "pd-balanced");
        assert_eq!(disk_type("c4-standard-4"), "hyperdisk-balanced");
        assert_eq!(disk_type("c3-standard-4"), "pd-balanced");
        assert_eq!(disk_type("c3-standard-192-metal"), "hyperdisk-balanced");
    }
}
