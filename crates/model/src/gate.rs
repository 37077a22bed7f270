//! The KVM gate's answer, and whether a lane can use it.
//! Keeps out: running the probe, which is `ops/ephemeral/kvm-gate.py`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::lane::KvmNeed;

/// What the probe found out about a machine's `/dev/kvm`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GateAnswer {
    /// Whether a guest like a Linux kernel can run.
    pub works: bool,
    /// One clear sentence.
    pub sentence: String,
    /// What was tried, in order.
    #[serde(default)]
    pub steps: Vec<GateStep>,
    /// What the machine is; a fact that could not be read is left out.
    #[serde(default)]
    pub facts: GateFacts,
}

/// One thing that the probe tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateStep {
    /// Such as `cmpxchg16b`.
    pub name: String,
    /// Whether it did what it must; none when it was not tried.
    pub ok: Option<bool>,
    /// What it did.
    pub detail: String,
    /// How long that took.
    pub micros: u64,
}

/// What the probe read about the machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GateFacts {
    /// Such as `AuthenticAMD`.
    pub cpu_vendor: Option<String>,
    /// As `/proc/cpuinfo` has it.
    pub cpu_model: Option<String>,
    /// The CPU's extension: `vmx` or `svm`.
    pub virtualization: Option<String>,
    /// `nested` or `bare metal`.
    pub machine: Option<String>,
    /// Who made the machine that this one is a guest of.
    pub hypervisor: Option<String>,
    /// Whether the machine's own CPU is emulated.
    pub emulated_cpu: bool,
    /// `ept` or `npt`.
    pub nested_paging: Option<String>,
    /// How long a million passes of a loop took in a guest.
    pub loop_micros: Option<u64>,
    /// `native` or `emulated`, from that.
    pub speed: Option<String>,
    /// The loaded modules of KVM and their parameters.
    pub modules: BTreeMap<String, BTreeMap<String, String>>,
    /// The kernel's version.
    pub kernel: Option<String>,
    /// Such as `x86_64`.
    pub arch: Option<String>,
    /// Who the probe ran as.
    pub user: Option<String>,
}

/// Reads what the probe printed; reports what is wrong when that is no answer.
pub fn parse(text: &str) -> Result<GateAnswer, String> {
    serde_json::from_str(text)
        .map_err(|error| format!("the KVM gate gave no answer that can be read: {error}"))
}

/// Decides whether a lane can use the machine; the refusal is one sentence.
pub fn judge(need: KvmNeed, answer: &GateAnswer) -> Result<(), String> {
    let machine = answer.facts.machine.as_deref();
    match need {
        KvmNeed::None => Ok(()),
        _ if !answer.works => Err(answer.sentence.clone()),
        KvmNeed::Required => Ok(()),
        KvmNeed::Nested if machine == Some("bare metal") => {
            Err("/dev/kvm works, but on bare metal where the lane wants it nested".to_owned())
        }
        KvmNeed::Metal if machine == Some("nested") => {
            Err("/dev/kvm works, but nested in a virtual machine where the lane wants bare metal".to_owned())
        }
        KvmNeed::Nested | KvmNeed::Metal => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(need: KvmNeed, works: bool, machine: &str, refusal: &str) {
        let facts = GateFacts {
            machine: Some(machine.to_owned()),
            ..GateFacts::default()
        };
        let answer = GateAnswer {
            works,
            sentence: "/dev/kvm is not there".to_owned(),
            steps: Vec::new(),
            facts,
        };
        let said = judge(need, &answer).err().unwrap_or_default();
        assert!(
            said.contains(refusal) && said.is_empty() == refusal.is_empty(),
            "{said}"
        );
    }

    #[test]
    fn lane_without_need_takes_any_machine() {
        check(KvmNeed::None, false, "nested", "");
    }

    #[test]
    fn broken_kvm_is_refused_with_the_probes_sentence() {
        for need in [KvmNeed::Required, KvmNeed::Nested, KvmNeed::Metal] {
            check(need, false, "nested", "/dev/kvm is not there");
        }
    }

    #[test]
    fn kind_of_machine_counts_where_it_is_asked_for() {
        check(KvmNeed::Required, true, "nested", "");
        check(KvmNeed::Nested, true, "nested", "");
        check(KvmNeed::Metal, true, "nested", "wants bare metal");
        check(KvmNeed::Metal, true, "bare metal", "");
        check(KvmNeed::Nested, true, "bare metal", "wants it nested");
    }

    #[test]
    fn answer_of_a_box_is_read() {
        let text = r#"{"probe": 1, "works": true, "sentence": "/dev/kvm works", "steps":
            [{"name": "open", "ok": true, "detail": "opened", "micros": 30},
             {"name": "loop", "ok": null, "detail": "not probed on aarch64", "micros": 0}],
            "facts": {"machine": "nested", "emulated_cpu": true, "modules": {"kvm_amd": {"npt": "Y"}}, "uid": 1000}}"#;
        let answer = parse(text).unwrap();
        assert!(answer.works);
        assert_eq!(answer.steps[1].ok, None);
        assert_eq!(answer.facts.modules["kvm_amd"]["npt"], "Y");
    }

    #[test]
    fn no_answer_is_an_error() {
        assert!(parse("").unwrap_err().starts_with("the KVM gate gave no answer"));
    }
}
