//! The agent's filter on real threads and processes. Needs Linux, but neither /dev/kvm nor root.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use mvm_security::{Denial, Filter, calls};

const EPERM: i32 = 1;
const SIGSYS: i32 = 31;

/// An empty directory of this test's own.
fn scratch(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("seccomp-{name}"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// A command that makes `directory`.
fn mkdir(directory: &Path) -> Command {
    let mut command = Command::new("mkdir");
    command.arg(directory);
    command
}

/// The same under `filter`.
fn mkdir_under(filter: Filter, directory: &Path) -> Command {
    let mut command = mkdir(directory);
    // SAFETY: between fork and exec this makes two system calls and allocates nothing.
    unsafe { command.pre_exec(move || filter.apply()) };
    command
}

#[test]
fn a_denied_call_fails_and_an_allowed_one_succeeds() {
    let scratch = scratch("thread");
    fs::create_dir(scratch.join("before")).unwrap();
    let inside = scratch.clone();

    let (denied, allowed) = thread::spawn(move || {
        mvm_guest::confinement().apply().unwrap();
        let denied = fs::create_dir(inside.join("denied"));
        let allowed = fs::write(inside.join("allowed"), "written under the filter");
        (denied, allowed)
    })
    .join()
    .unwrap();

    assert_eq!(denied.unwrap_err().raw_os_error(), Some(EPERM));
    allowed.unwrap();
    assert!(!scratch.join("denied").exists());
    assert_eq!(
        fs::read_to_string(scratch.join("allowed")).unwrap(),
        "written under the filter"
    );
}

#[test]
fn other_threads_keep_what_they_had() {
    let scratch = scratch("other");
    thread::spawn(|| mvm_guest::confinement().apply().unwrap())
        .join()
        .unwrap();
    fs::create_dir(scratch.join("made")).unwrap();
}

#[test]
fn the_filter_holds_in_a_program_that_is_started_under_it() {
    let directory = scratch("exec").join("made");

    let confined = mkdir_under(mvm_guest::confinement(), &directory)
        .output()
        .unwrap();
    assert!(!confined.status.success());
    assert!(!directory.exists());

    let free = mkdir(&directory).output().unwrap();
    assert!(free.status.success());
    assert!(directory.exists());
}

#[test]
fn a_filter_that_kills_ends_the_process_with_sigsys() {
    let directory = scratch("kill").join("made");
    let filter = Filter::denying(calls::MAKE_DIRECTORY, Denial::Kill);

    let killed = mkdir_under(filter, &directory).output().unwrap();

    assert_eq!(killed.status.signal(), Some(SIGSYS));
    assert!(!directory.exists());
}
