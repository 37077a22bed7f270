//! How a box's CPU is run: by the host's KVM where that really works, else emulated.
//! The gate's own probe decides, as a `/dev/kvm` that runs simple guests may still run no kernel.

use std::{fmt, process::Stdio};

use serde::Deserialize;
use tokio::{io::AsyncWriteExt, process::Command, sync::OnceCell};

use super::trouble::{Trouble, end_of};

const PROBE: &str = include_str!("../../../../ops/ephemeral/kvm-gate.py");

/// What the user wants.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acceleration {
    /// KVM where it works, else emulation.
    #[default]
    Auto,
    /// KVM, whatever the probe says.
    Kvm,
    /// Emulation.
    Tcg,
}

/// How it is done, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) is_kvm: bool,
    pub(crate) why: String,
}

impl Choice {
    /// Returns QEMU's words for it.
    pub(crate) fn arguments(&self) -> &'static [&'static str] {
        if self.is_kvm {
            &["-accel", "kvm", "-cpu", "host"]
        } else {
            &["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"]
        }
    }

    /// Returns what a guest's kernel is told. All emulated CPUs read one and the same time stamp counter (QEMU's
    /// `cpu_get_ticks`), but do not say so; every other clock of the guest costs a way out of it for each look.
    pub(crate) fn kernel_arguments(&self) -> &'static str {
        if self.is_kvm { "" } else { " tsc=reliable" }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = if self.is_kvm { "KVM" } else { "emulated CPU (TCG)" };
        write!(f, "{how}: {}", self.why)
    }
}

/// The probe's answer, asked for once in a process.
#[derive(Debug, Default)]
pub(crate) struct Probe(OnceCell<Answer>);

#[derive(Debug, Clone, Deserialize)]
struct Answer {
    works: bool,
    sentence: String,
}

impl Probe {
    /// Chooses, after having probed where that is left to us.
    pub(crate) async fn choose(&self, wanted: Acceleration, python: &str) -> Result<Choice, Trouble> {
        let forced = |is_kvm| Choice {
            is_kvm,
            why: "as configured".to_owned(),
        };
        match wanted {
            Acceleration::Kvm => Ok(forced(true)),
            Acceleration::Tcg => Ok(forced(false)),
            Acceleration::Auto => {
                let answer = self.0.get_or_try_init(|| ask(python)).await?;
                Ok(Choice {
                    is_kvm: answer.works,
                    why: reason(answer),
                })
            }
        }
    }
}

fn reason(answer: &Answer) -> String {
    if answer.sentence.is_empty() {
        "this machine's /dev/kvm runs what kernels do".to_owned()
    } else {
        answer.sentence.clone()
    }
}

async fn ask(python: &str) -> Result<Answer, Trouble> {
    let run = async {
        let mut child = Command::new(python)
            .args(["-I", "-", "--limit", "5"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or(std::io::ErrorKind::BrokenPipe)?;
        // A program that reads nothing is no probe: its missing answer says so.
        let _ = stdin.write_all(PROBE.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await
    };
    let output = run
        .await
        .map_err(|e| Trouble::system(format!("probe /dev/kvm with {python}"), e))?;
    serde_json::from_slice(&output.stdout).map_err(|e| {
        let said = end_of(&String::from_utf8_lossy(&output.stderr), 3);
        Trouble::invalid(format!("the probe of /dev/kvm gave no answer ({e}): {said}"))
            .with_help("set the acceleration to `kvm` or `tcg` to go without the probe")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_choice_of_the_user_needs_no_probe() {
        let probe = Probe::default();
        for (wanted, is_kvm) in [(Acceleration::Kvm, true), (Acceleration::Tcg, false)] {
            let choice = probe.choose(wanted, "/nonexistent").await.unwrap();
            assert_eq!(choice.is_kvm, is_kvm);
        }
    }

    #[tokio::test]
    async fn a_probe_that_cannot_run_is_an_error() {
        let trouble = Probe::default()
            .choose(Acceleration::Auto, "/nonexistent")
            .await
            .unwrap_err();
        assert!(trouble.cause.contains("/nonexistent"), "{trouble:?}");
        let trouble = Probe::default()
            .choose(Acceleration::Auto, "/bin/true")
            .await
            .unwrap_err();
        assert!(trouble.cause.contains("no answer"), "{trouble:?}");
    }

    #[tokio::test]
    async fn the_probe_gives_a_reason_either_way() {
        let choice = Probe::default()
            .choose(Acceleration::Auto, "python3")
            .await
            .unwrap();
        assert!(!choice.why.is_empty());
    }
}
