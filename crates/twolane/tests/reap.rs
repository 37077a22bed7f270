//! `twolane reap` and what goes with it, as a scheduler calls them. The boxes are directories of the local provider
//! whose QEMU is long gone, as a killed twolane leaves them.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["work", "home"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        Self(temp)
    }

    fn box_dir(&self, label: &str) -> PathBuf {
        self.0.path().join("state/boxes").join(label).join("vm")
    }

    /// Leaves a box whose deadline is so many seconds from now.
    fn plant(&self, label: &str, user: &str, seconds: i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        let tags = json!({
            "mvm-ephemeral": "true",
            "mvm-label": label,
            "mvm-run": "20260102-030405-7f3a",
            "mvm-token": format!("{label}-1"),
            "mvm-deadline": (now + seconds).to_string(),
            "mvm-user": user,
        });
        let record = json!({
            "version": 1, "tags": tags, "instance_type": "2x4g", "port": 2222, "note": "",
        });
        fs::create_dir_all(self.box_dir(label)).unwrap();
        fs::write(self.box_dir(label).join("box.json"), record.to_string()).unwrap();
        fs::write(self.box_dir(label).join("disk.qcow2"), "an overlay").unwrap();
    }

    /// Returns standard output, of a failure standard error too; the command must end with that exit code.
    #[track_caller]
    fn run(&self, arguments: &[&str], code: i32) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_twolane"))
            .args(arguments)
            .current_dir(self.0.path().join("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.0.path().join("home"))
            .env("TWOLANE_STATE_DIR", self.0.path().join("state"))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let (stdout, stderr) = (
            output.stdout,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        let stdout = String::from_utf8(stdout).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
        if code == 0 { stdout } else { stdout + &stderr }
    }
}

#[track_caller]
fn last_line(output: &str) -> &str {
    output.lines().last().unwrap_or_default()
}

#[test]
fn nothing_to_reap_is_a_success() {
    let output = Place::new().run(&["reap"], 0);
    assert_eq!(
        output.trim(),
        "reap: expired=0 deleted=0 failed=0 kept=0 unreachable=0 unreadable=0"
    );
}

#[test]
fn overdue_boxes_go_and_others_stay() {
    let place = Place::new();
    place.plant("old-live-1", "eve", -60);
    place.plant("new-live-1", "eve", 3600);
    let output = place.run(&["reap"], 0);
    assert!(output.contains("old-live-1: its deadline was "), "{output}");
    assert_eq!(
        last_line(&output),
        "reap: expired=0 deleted=1 failed=0 kept=1 unreachable=0 unreadable=0"
    );
    assert!(!place.box_dir("old-live-1").exists());
    assert!(place.box_dir("new-live-1").exists());
    let again = place.run(&["reap"], 0);
    assert_eq!(
        again.trim(),
        "reap: expired=0 deleted=0 failed=0 kept=1 unreachable=0 unreadable=0"
    );
}

#[test]
fn a_dry_run_shows_and_destroys_nothing() {
    let place = Place::new();
    place.plant("old-live-1", "eve", -60);
    let output = place.run(&["reap", "--dry-run"], 0);
    assert!(
        output.contains("would destroy: box old-live-1 at local"),
        "{output}"
    );
    assert_eq!(
        last_line(&output),
        "reap: expired=1 deleted=0 failed=0 kept=0 unreachable=0 unreadable=0"
    );
    assert!(place.box_dir("old-live-1").exists());
}

#[test]
fn an_owner_narrows_it() {
    let place = Place::new();
    place.plant("old-live-1", "eve", -60);
    place.plant("old-live-2", "bob", -60);
    place.run(&["reap", "--owner", "user=eve"], 0);
    assert!(!place.box_dir("old-live-1").exists());
    assert!(place.box_dir("old-live-2").exists());
    place.run(&["reap", "--owner", "colour=red"], 2);
    place.run(&["reap", "--provider", "nowhere"], 2);
}

#[test]
fn json_reports_the_same() {
    let place = Place::new();
    place.plant("old-live-1", "eve", -60);
    let reaped: Value = serde_json::from_str(&place.run(&["reap", "--json", "--dry-run"], 0)).unwrap();
    assert_eq!(reaped["boxes"][0]["label"], "old-live-1");
    assert_eq!(reaped["boxes"][0]["end"], "expired");
    assert_eq!(reaped["is_dry_run"], true);
}

#[test]
fn a_scheduled_job_is_written_once() {
    let place = Place::new();
    for (system, directory) in [
        ("github", ".github/workflows"),
        ("gitlab", ".gitlab"),
        ("buildkite", ".buildkite"),
    ] {
        place.run(&["init", "--ci", system], 0);
        let directory = place.0.path().join("work").join(directory);
        let job = fs::read_to_string(directory.join("twolane-reap.yml")).unwrap();
        assert!(job.contains("twolane reap"), "{job}");
        let job = fs::read_to_string(directory.join("twolane.yml")).unwrap();
        assert!(job.contains("junit"), "{job}");
        place.run(&["init", "--ci", system], 2);
        place.run(&["init", "--ci", system, "--force"], 0);
    }
    assert!(!place.0.path().join("work/twolane.toml").exists());
}

#[test]
fn there_is_no_receipt_of_a_run_that_nobody_knows() {
    Place::new().run(&["report", "20260102-030405-7f3a", "--format", "receipt"], 2);
}

#[test]
fn down_of_a_misspelt_label_names_the_nearest_box() {
    let place = Place::new();
    place.plant("demo-live-17", "eve", 3600);
    let error = place.run(&["down", "demo-live-71"], 2);
    assert!(error.contains("did you mean `demo-live-17`"), "{error}");
    let events = place.run(&["down", "demo-live-71", "--json"], 2);
    assert!(!events.contains("machine-gone"), "{events}");
    assert!(place.box_dir("demo-live-17").exists());
    // A box that this journal does not know is destroyed by its label.
    let text = place.run(&["down", "demo-live-17"], 0);
    assert!(text.contains("box demo-live-17 is gone"), "{text}");
}
