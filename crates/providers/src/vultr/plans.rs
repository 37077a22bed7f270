//! What is known of Vultr's plans: no field of the API says which have KVM.

use model::{error::ErrorKind, lane::KvmNeed};

/// The plan of an order that names none.
pub(super) const VIRTUAL: &str = "vx1-g-4c-16g-240s";

/// The cheapest hardware whose price is known.
pub(super) const METAL: &str = "vbm-6c-32gb-amd";

/// Returns whether a plan is hardware of its own.
pub(super) fn is_metal(plan: &str) -> bool {
    plan.starts_with("vbm-")
}

/// Why a plan cannot serve a lane, and what can.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) kind: ErrorKind,
    pub(super) why: String,
    pub(super) help: String,
}

/// Says why a plan cannot serve a lane. None: it can.
pub(super) fn why_not(plan: &str, need: KvmNeed) -> Option<Unfit> {
    let is_virtual = plan.starts_with("vx1-");
    if is_virtual && !has_disk(plan) {
        return Some(Unfit {
            kind: ErrorKind::Invalid,
            why: format!("{plan} has no disk of its own, and twolane attaches none"),
            help: format!("use a plan whose name ends in the size of its disk, such as {VIRTUAL}"),
        });
    }
    let no_kvm = |why: String, help: String| {
        let kind = ErrorKind::NoKvm;
        Some(Unfit { kind, why, help })
    };
    match need {
        KvmNeed::None => None,
        KvmNeed::Required if is_virtual || is_metal(plan) => None,
        KvmNeed::Nested if is_virtual => None,
        KvmNeed::Metal if is_metal(plan) => None,
        KvmNeed::Metal => no_kvm(
            format!("{plan} is no bare metal, and the lane asks for it"),
            format!("use a vbm- plan, such as {METAL}"),
        ),
        KvmNeed::Nested if is_metal(plan) => no_kvm(
            format!("{plan} is bare metal, and the lane asks for nested KVM"),
            format!("use a vx1- plan, such as {VIRTUAL}"),
        ),
        KvmNeed::Required | KvmNeed::Nested => no_kvm(no_promise(plan), nearest(need)),
    }
}

/// A plan such as `vx1-g-4c-16g-240s` ends in the size of its disk; one without runs on attached storage.
fn has_disk(plan: &str) -> bool {
    plan.ends_with('s')
}

fn no_promise(plan: &str) -> String {
    let differs = plan.starts_with("voc-") || (plan.starts_with("vhp-") && plan.ends_with("-amd"));
    match differs {
        true => format!(
            "{plan} is no promise of KVM: its hosts differ, and of 59 that were probed 21 had /dev/kvm"
        ),
        false => {
            format!(
                "{plan} is not known to give KVM: no vc2, vhf, vhp-intel or vcg plan that was probed had it"
            )
        }
    }
}

fn nearest(need: KvmNeed) -> String {
    match need {
        KvmNeed::Nested => format!("use a vx1- plan, such as {VIRTUAL}"),
        _ => format!("use a vx1- plan, such as {VIRTUAL}, or hardware: a vbm- plan, such as {METAL}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(plan: &str, needs: &[KvmNeed]) {
        let all = [KvmNeed::None, KvmNeed::Required, KvmNeed::Nested, KvmNeed::Metal];
        let served: Vec<_> = all
            .into_iter()
            .filter(|need| why_not(plan, *need).is_none())
            .collect();
        assert_eq!(served, needs, "{plan}");
    }

    #[test]
    fn a_plan_serves_what_was_seen_on_it() {
        check(VIRTUAL, &[KvmNeed::None, KvmNeed::Required, KvmNeed::Nested]);
        check(
            "vx1-m-2c-16g-120s",
            &[KvmNeed::None, KvmNeed::Required, KvmNeed::Nested],
        );
        check(METAL, &[KvmNeed::None, KvmNeed::Required, KvmNeed::Metal]);
        for without in [
            "vc2-6c-16gb",
            "vhf-4c-16gb",
            "vhp-4c-8gb-intel",
            "vhp-4c-8gb-amd",
            "voc-c-4c-8gb-150s-amd",
            "vcg-a16-2c-8g-2vram",
        ] {
            check(without, &[KvmNeed::None]);
        }
    }

    #[test]
    fn a_plan_whose_hosts_differ_is_distinguished_from_one_without() {
        let why = |plan: &str| why_not(plan, KvmNeed::Required).unwrap().why;
        assert!(why("vhp-4c-8gb-amd").contains("its hosts differ"));
        assert!(why("voc-g-2c-8gb-50s-amd").contains("its hosts differ"));
        assert!(!why("vc2-6c-16gb").contains("its hosts differ"));
    }

    #[test]
    fn a_plan_without_a_disk_of_its_own_is_refused() {
        let unfit = why_not("vx1-g-4c-16g", KvmNeed::None).unwrap();
        assert_eq!(unfit.kind, ErrorKind::Invalid);
    }
}
