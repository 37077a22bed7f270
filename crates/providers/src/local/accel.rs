//! How a box's CPU is run: by the host's KVM where that really works, else emulated.
//! The gate's own probe decides, as a `/dev/kvm` that runs simple guests may still run no kernel.

use std::{fmt, fs, os::unix::fs::MetadataExt, process::Stdio};

use camino::Utf8PathBuf;
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncWriteExt, process::Command, sync::OnceCell};

use model::text::last_lines;

use super::{error::LocalError, programs::Programs};
use crate::child;

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
    pub(crate) how: How,
    pub(crate) why: String,
}

/// How a box's CPUs are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// By the host's KVM.
    Kvm,
    /// Emulated, each CPU by a thread of its own.
    Tcg,
    /// Emulated, all CPUs in turns by one thread.
    TcgInTurns,
}

/// The first QEMU that emulates CPUs side by side without losing what one of them writes into the other's code: its
/// commit deba78709ae8, "accel/tcg: Always lock pages before translation". With an older one, a Linux guest that patches
/// itself at the wrong moment, as it does for every new KVM VM, runs the old instruction for ever.
const TCG_IS_SOUND: (u32, u32) = (8, 1);

impl Choice {
    /// Returns QEMU's words for it.
    pub(crate) fn arguments(&self) -> &'static [&'static str] {
        match self.how {
            How::Kvm => &["-accel", "kvm", "-cpu", "host"],
            How::Tcg => &["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"],
            How::TcgInTurns => &["-accel", "tcg,thread=single,tb-size=512", "-cpu", "max"],
        }
    }

    /// Returns the arguments of a guest's kernel. All emulated CPUs read one and the same time stamp counter (QEMU's
    /// `cpu_get_ticks`), but do not say so; every other clock of the guest costs a way out of it for each look.
    pub(crate) fn kernel_arguments(&self) -> &'static str {
        match self.how {
            How::Kvm => "",
            How::Tcg | How::TcgInTurns => " tsc=reliable",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Kvm => "KVM",
            How::Tcg => "emulated CPU (TCG)",
            How::TcgInTurns => "emulated CPUs in turns (TCG of a QEMU before 8.1)",
        };
        write!(f, "{how}: {}", self.why)
    }
}

/// The probe's answer and QEMU's version, each asked for once in a process.
#[derive(Debug, Default)]
pub(crate) struct Probe {
    kvm: OnceCell<Answer>,
    qemu: OnceCell<String>,
    kept: Option<Utf8PathBuf>,
}

/// An answer, and what it was given for.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    circumstances: String,
    answer: Answer,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
struct Answer {
    works: bool,
    sentence: String,
}

impl Probe {
    /// Keeps the answer in a file too: as long as the circumstances are the same, so is the answer, and where KVM only half
    /// works finding that out takes seconds.
    pub(crate) fn kept_in(file: Utf8PathBuf) -> Self {
        Self {
            kept: Some(file),
            ..Self::default()
        }
    }

    async fn kvm(&self, python: &str) -> Result<Answer, LocalError> {
        let (Some(file), Some(circumstances)) = (&self.kept, circumstances()) else {
            return ask(python).await;
        };
        let kept = fs::read(file).ok();
        let kept = kept.and_then(|text| serde_json::from_slice::<Kept>(&text).ok());
        if let Some(kept) = kept.filter(|kept| kept.circumstances == circumstances) {
            return Ok(kept.answer);
        }
        let answer = ask(python).await?;
        let kept = Kept {
            circumstances,
            answer: answer.clone(),
        };
        // Where it cannot be kept it is asked for again.
        let _ = serde_json::to_vec(&kept).map(|text| fs::write(file, text));
        Ok(answer)
    }

    /// Chooses, after having probed where that is left to us.
    pub(crate) async fn choose(
        &self,
        wanted: Acceleration,
        programs: &Programs,
    ) -> Result<Choice, LocalError> {
        let (is_kvm, why) = match wanted {
            Acceleration::Kvm => (true, "as configured".to_owned()),
            Acceleration::Tcg => (false, "as configured".to_owned()),
            Acceleration::Auto => {
                let answer = self.kvm.get_or_try_init(|| self.kvm(&programs.python3)).await?;
                (answer.works, reason(answer))
            }
        };
        let how = match is_kvm {
            true => How::Kvm,
            false => emulation(self.qemu_version(programs).await),
        };
        Ok(Choice { how, why })
    }

    /// Returns what QEMU says of its version.
    pub(crate) async fn qemu_version(&self, programs: &Programs) -> &str {
        self.qemu.get_or_init(|| version(&programs.qemu)).await
    }
}

/// Returns all that the probe's answer depends on: this boot of the machine, its KVM modules, the device, and who asks.
fn circumstances() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let device = fs::metadata("/dev/kvm").map(|it| (it.ino(), it.mode(), it.uid(), it.gid(), it.ctime()));
    let modules = fs::read_dir("/sys/module")
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut modules: Vec<_> = modules.filter(|name| name.starts_with("kvm")).collect();
    modules.sort();
    let who = (
        rustix::process::geteuid().as_raw(),
        rustix::process::getgroups().ok()?,
    );
    let key = super::image::cache::key("kvm", &[PROBE]);
    Some(format!("{} {device:?} {modules:?} {who:?} {key}", boot.trim()))
}

/// Asks a QEMU for its version. One that cannot be run says so when a box is started.
async fn version(qemu: &str) -> String {
    let mut command = Command::new(qemu);
    child::clean(command.as_std_mut());
    let output = command
        .arg("--version")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    let text = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&text).into_owned()
}

/// Returns how a QEMU emulates several CPUs without harm, by what it says of its version, such as `QEMU emulator version
/// 7.2.22 (Debian …)`. What says none is taken for an old one: slower, and never wrong.
fn emulation(version: &str) -> How {
    match version_of(version) {
        Some(numbers) if numbers >= TCG_IS_SOUND => How::Tcg,
        _ => How::TcgInTurns,
    }
}

/// Reads the numbers out of what a QEMU says of its version.
pub(crate) fn version_of(text: &str) -> Option<(u32, u32)> {
    let (_, rest) = text.split_once("version ")?;
    let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn reason(answer: &Answer) -> String {
    if answer.sentence.is_empty() {
        "this machine's /dev/kvm runs what kernels do".to_owned()
    } else {
        answer.sentence.clone()
    }
}

async fn ask(python: &str) -> Result<Answer, LocalError> {
    let run = async {
        let mut command = Command::new(python);
        child::clean(command.as_std_mut());
        let mut child = command
            .args(["-I", "-S", "-", "--limit", "5"])
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
        .map_err(|e| LocalError::system(format!("probe /dev/kvm with {python}"), e))?;
    serde_json::from_slice(&output.stdout).map_err(|e| {
        let said = last_lines(&String::from_utf8_lossy(&output.stderr), 3).join("\n");
        LocalError::invalid(format!("the probe of /dev/kvm gave no answer ({e}): {said}"))
            .with_help("set the acceleration to `kvm` or `tcg` to go without the probe")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn programs(qemu: &str, python3: &str) -> Programs {
        Programs {
            qemu: qemu.to_owned(),
            python3: python3.to_owned(),
            ..Programs::default()
        }
    }

    #[tokio::test]
    async fn a_choice_of_the_user_needs_no_probe() {
        let probe = Probe::default();
        let programs = programs("/nonexistent", "/nonexistent");
        for (wanted, how) in [
            (Acceleration::Kvm, How::Kvm),
            (Acceleration::Tcg, How::TcgInTurns),
        ] {
            assert_eq!(probe.choose(wanted, &programs).await.unwrap().how, how);
        }
    }

    #[tokio::test]
    async fn a_probe_that_cannot_run_is_an_error() {
        for (python3, why) in [("/nonexistent", "/nonexistent"), ("/bin/true", "no answer")] {
            let error = Probe::default()
                .choose(Acceleration::Auto, &programs("/bin/true", python3))
                .await
                .unwrap_err();
            assert!(error.cause.contains(why), "{error:?}");
        }
    }

    #[tokio::test]
    async fn answer_is_kept_until_the_circumstances_change() {
        let dir = tempfile::tempdir().unwrap();
        let file = Utf8PathBuf::try_from(dir.path().join("kvm.json")).unwrap();
        let choose = async |python3: &str| {
            let probe = Probe::kept_in(file.clone());
            let choice = probe
                .choose(Acceleration::Auto, &programs("/bin/true", python3))
                .await;
            choice.map(|choice| choice.why)
        };
        let first = choose("python3").await.unwrap();
        assert_eq!(choose("/nonexistent").await, Ok(first));
        let text = fs::read_to_string(&file).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        fs::write(&file, text.replace(boot.trim(), "another-boot")).unwrap();
        assert!(choose("/nonexistent").await.is_err());
    }

    #[tokio::test]
    async fn the_probe_gives_a_reason_either_way() {
        let choice = Probe::default()
            .choose(Acceleration::Auto, &programs("/bin/true", "python3"))
            .await
            .unwrap();
        assert!(!choice.why.is_empty());
    }

    #[test]
    fn an_old_qemu_emulates_in_turns() {
        for (version, how) in [
            (
                "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)",
                How::TcgInTurns,
            ),
            ("QEMU emulator version 8.0.5", How::TcgInTurns),
            ("QEMU emulator version 8.1.0\nCopyright (c) 2003", How::Tcg),
            (
                "QEMU emulator version 8.2.2 (Debian 1:8.2.2+ds-0ubuntu1)",
                How::Tcg,
            ),
            ("QEMU emulator version 10.0.2", How::Tcg),
            ("", How::TcgInTurns),
            ("QEMU emulator version unknown", How::TcgInTurns),
        ] {
            assert_eq!(emulation(version), how, "{version}");
        }
    }
}
