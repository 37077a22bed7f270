//! A state directory on a disk that is full or that nobody can write to, or one that somebody else could put anything into:
//! the command stops before anything is created, and says how to fix it. Only root may mount such a disk; elsewhere those tests
//! are skipped, and say so.

use std::{
    fs,
    io::Write,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;

/// A small disk in memory, in place of the state directory.
struct Place(TempDir);

impl Place {
    /// None where this user may not mount.
    fn new() -> Option<Self> {
        let place = Self::on_this_disk();
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
        Some(place)
    }

    /// A directory like any other, in place of the state directory.
    fn on_this_disk() -> Self {
        let temp = tempfile::tempdir().unwrap();
        for dir in ["work", "home", "state"] {
            fs::create_dir(temp.path().join(dir)).unwrap();
        }
        let config = "[project]\nname = \"demo\"\n[lanes.fast]\nboxes = [\"local\"]\n\
                      checks = [{ name = \"a\", run = \"true\" }]\n";
        fs::write(temp.path().join("work/twolane.toml"), config).unwrap();
        Self(temp)
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

/// Asserts that nobody's journal or keys in such a directory are believed.
#[track_caller]
fn check_refused(place: &Place, why: &str) {
    // A box that is said to be there, and a journal that only a twolane that reads it finds out to be none.
    fs::write(place.state().join("journal.db"), "not a journal").unwrap();
    let state = place.state();
    let before = fs::metadata(&state).unwrap();
    for arguments in [&["run"][..], &["up"], &["ls"], &["down", "--all"], &["reap"]] {
        let output = place.twolane(arguments);
        let reported = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {reported}");
        let wanted = [
            "could not use the state directory",
            state.to_str().unwrap(),
            why,
            "name a directory of your own that nobody else may write to: --state-dir DIR",
        ];
        let flat = reported.split_whitespace().collect::<Vec<_>>().join(" ");
        for wanted in wanted {
            assert!(
                flat.contains(wanted),
                "{arguments:?}: {wanted:?} is not in {reported}"
            );
        }
    }
    let left: Vec<_> = fs::read_dir(place.state())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["journal.db"]);
    let after = fs::metadata(place.state()).unwrap();
    assert_eq!(
        (after.uid(), after.mode()),
        (before.uid(), before.mode()),
        "it is not ours to change"
    );
}

#[test]
fn state_directory_that_others_may_write_to_is_refused() {
    for mode in [0o777, 0o1777, 0o770, 0o702] {
        let place = Place::on_this_disk();
        fs::set_permissions(place.state(), fs::Permissions::from_mode(mode)).unwrap();
        check_refused(
            &place,
            &format!("others may write to it (mode {:o})", mode & 0o777),
        );
    }
}

#[test]
fn state_directory_of_somebody_else_is_refused() {
    const NOBODY: u32 = 65_534;
    let place = Place::on_this_disk();
    fs::set_permissions(place.state(), fs::Permissions::from_mode(0o700)).unwrap();
    if chown(place.state(), Some(NOBODY), None).is_err() {
        let reported =
            "SKIPPED: this user may not give a directory away, so one of somebody else was NOT tried\n";
        std::io::stderr().write_all(reported.as_bytes()).unwrap();
        return;
    }
    check_refused(&place, "it belongs to user 65534, and you are user 0");
}
