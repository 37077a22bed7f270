//! A state directory on a disk that is full, or that nobody can write to: the command stops before anything is created,
//! and says how to fix it. Only root may mount such a disk; elsewhere these tests are skipped, and say so.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A small disk in memory, in place of the state directory.
struct Place(TempDir);

impl Place {
    /// None where this user may not mount.
    fn new() -> Option<Self> {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["work", "home", "state"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        let place = Self(temp);
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs"])
            .arg(place.state())
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            let reported = "SKIPPED: this user may not mount a small disk, so a full one was NOT tried\n";
            std::io::stderr().write_all(reported.as_bytes()).unwrap();
            return None;
        }
        let config = "[project]\nname = \"demo\"\n[lanes.fast]\nboxes = [\"local\"]\n\
                      checks = [{ name = \"a\", run = \"true\" }]\n";
        fs::write(place.0.path().join("work/twolane.toml"), config).unwrap();
        Some(place)
    }

    fn state(&self) -> PathBuf {
        self.0.path().join("state")
    }

    fn twolane(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_twolane"))
            .args(arguments)
            .current_dir(self.0.path().join("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.0.path().join("home"))
            .env("TWOLANE_STATE_DIR", self.state())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Every command that could make a box is refused with what to do, and makes nothing.
    #[track_caller]
    fn check(&self, help: &str) {
        for arguments in [&["run"][..], &["up"]] {
            let output = self.twolane(arguments);
            let reported = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {reported}");
            assert!(
                reported.contains("help: ") && reported.contains(help),
                "{arguments:?}: {reported}"
            );
            assert!(!self.state().join("boxes").exists(), "{arguments:?}: {reported}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("umount")
            .arg(self.state())
            .stderr(Stdio::null())
            .status();
    }
}

#[test]
fn a_full_disk_stops_before_anything_is_created() {
    let Some(place) = Place::new() else { return };
    let mut file = fs::File::create(place.state().join("filler")).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    place.check("free some space");
}

#[test]
fn a_read_only_disk_stops_before_anything_is_created() {
    let Some(place) = Place::new() else { return };
    let remounted = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(place.state())
        .status();
    assert!(remounted.unwrap().success());
    place.check("that you can write to");
}
