//! What the kernel keeps bash from while it reads an adapter's text.
//!
//! Landlock and seccomp bind the thread that asks for them and all that it starts: so bash is started by a thread of its own. Neither
//! needs rights or a namespace, which Ubuntu 24.04 and many containers give no ordinary user.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    process::{Child, Command},
    thread,
};

use camino::{Utf8Path, Utf8PathBuf};
use landlock::{
    ABI, Access, AccessFs, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus, path_beneath_rules,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// Where the libraries of bash may be.
const LIBRARIES: [&str; 8] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/etc/ld.so.cache",
    "/nix/store",
    "/gnu/store",
];

/// The newest access rights of files that are refused; an older kernel refuses those that it knows.
const RIGHTS: ABI = ABI::V5;

/// Starts a bash that can execute nothing but itself, read nothing but libraries, write nothing but what is open, start no process,
/// signal none, and open no socket.
pub(crate) fn spawn(command: &mut Command, bash: &Utf8Path) -> io::Result<Child> {
    let confined = || {
        files(bash)?;
        calls()?;
        command.spawn()
    };
    thread::scope(|scope| scope.spawn(confined).join()).unwrap_or_else(|_| Err(io::Error::other("a panic")))
}

/// Has Landlock refuse files, and returns whether this kernel does.
fn files(bash: &Utf8Path) -> io::Result<bool> {
    let programs = [Some(bash.to_owned()), loader(bash)?];
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))
        .and_then(Ruleset::create)
        .and_then(|rules| rules.add_rules(path_beneath_rules(LIBRARIES, read)))
        .and_then(|rules| {
            let null = AccessFs::ReadFile | AccessFs::WriteFile;
            rules.add_rules(path_beneath_rules(["/dev/null"], null))
        })
        .and_then(|rules| {
            let run = AccessFs::ReadFile | AccessFs::Execute;
            rules.add_rules(path_beneath_rules(programs.into_iter().flatten(), run))
        })
        .and_then(|rules| rules.restrict_self())
        .map_err(io::Error::other)?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// Has seccomp refuse sockets, signals, and processes other than the one that this thread starts.
fn calls() -> io::Result<()> {
    let is = |argument, op, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
    };
    let vfork = u64::from(libc::CLONE_VFORK.unsigned_abs());
    let filter = || {
        let refused = BTreeMap::from([
            (libc::SYS_socket, Vec::new()),
            (libc::SYS_kill, Vec::new()),
            // A program is started by one that has this flag; bash forks.
            (libc::SYS_clone, vec![is(0, SeccompCmpOp::MaskedEq(vfork), 0)?]),
            // The process that is started becomes a group of its own; a job of bash does not.
            (libc::SYS_setpgid, vec![is(0, SeccompCmpOp::Ne, 0)?]),
            #[cfg(target_arch = "x86_64")]
            (libc::SYS_fork, Vec::new()),
        ]);
        Ok((refused, BTreeMap::from([(libc::SYS_clone3, Vec::new())])))
    };
    let (refused, unknown) = filter().map_err(io::Error::other::<seccompiler::BackendError>)?;
    // Its arguments are out of a filter's sight: without it, libc takes `clone`.
    for (calls, error) in [(unknown, libc::ENOSYS), (refused, libc::EPERM)] {
        let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
        let program: BpfProgram = SeccompFilter::new(
            calls,
            SeccompAction::Allow,
            SeccompAction::Errno(error.unsigned_abs()),
            arch,
        )
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
        seccompiler::apply_filter(&program).map_err(io::Error::other)?;
    }
    Ok(())
}

/// Returns the program that the kernel loads a dynamic one with, as the file itself names it.
fn loader(program: &Utf8Path) -> io::Result<Option<Utf8PathBuf>> {
    const INTERPRETER: u64 = 3;
    const PATH_MAX: u64 = 4096;
    let file = File::open(program)?;
    let number = |at: u64, bytes: usize| {
        let mut number = [0; 8];
        file.read_exact_at(&mut number[..bytes], at)
            .map(|()| u64::from_le_bytes(number))
    };
    if number(0, 4)? != u64::from(u32::from_le_bytes(*b"\x7fELF")) {
        return Err(io::Error::other("it is a script, not the program itself"));
    }
    let (first, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    for header in (0..count).map(|index| first + index * size) {
        if number(header, 4)? == INTERPRETER {
            let mut path =
                vec![0; usize::try_from(number(header + 32, 8)?.min(PATH_MAX)).unwrap_or_default()];
            file.read_exact_at(&mut path, number(header + 8, 8)?)?;
            let path = String::from_utf8_lossy(&path);
            return Ok(Some(path.trim_end_matches('\0').into()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// Returns what a bash without restrictions of its own says to a script, and its exit code.
    fn said(script: &str) -> (Option<i32>, String) {
        let bash = Utf8Path::new("/bin/bash");
        let mut command = Command::new(bash);
        command
            .args(["--noprofile", "--norc", "-c", script])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let output = spawn(&mut command, bash).unwrap().wait_with_output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    /// What seccomp refuses, and what Landlock.
    const CALLS: [&str; 10] = [
        "touch MARKER; :",
        "( : )",
        ": &",
        ": | :",
        "x=$(:)",
        "coproc :",
        "f() { f | f & }; f",
        "exec 3<>/dev/tcp/127.0.0.1/22",
        "exec 3<>/dev/udp/127.0.0.1/53",
        "kill -0 $PPID",
    ];
    const FILES: [&str; 6] = [
        "exec touch MARKER",
        "echo >MARKER",
        "read x </etc/passwd",
        "read x </proc/$PPID/environ",
        "read x </proc/self/environ",
        ". /etc/profile",
    ];

    #[track_caller]
    fn check_refused(tricks: &[&str], wanted: &str) {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("marker");
        for trick in tricks {
            let (code, words) = said(&trick.replace("MARKER", marker.to_str().unwrap()));
            assert!(words.contains(wanted), "{trick}: {code:?} {words}");
            assert!(!marker.exists(), "{trick}");
        }
    }

    /// Returns whether a thread that asks for it is bound by Landlock.
    fn has_landlock() -> bool {
        let asks = || thread::spawn(|| files("/bin/bash".into()).unwrap());
        asks().join().unwrap()
    }

    #[test]
    fn kernel_refuses_what_bash_itself_would_do() {
        check_refused(&CALLS, "Operation not permitted");
        assert!(
            has_landlock(),
            "this kernel has no Landlock, or it is not on: half of this was not tried"
        );
        check_refused(&FILES, "Permission denied");
    }

    /// Older kernels do not know the call; newer ones may have it switched off.
    #[test]
    fn kernel_without_landlock_still_refuses_processes_sockets_and_signals() {
        for error in [libc::ENOSYS, libc::EOPNOTSUPP] {
            let older = thread::spawn(move || {
                refuse(&[libc::SYS_landlock_create_ruleset], error).unwrap();
                assert!(!has_landlock());
                check_refused(&CALLS, "Operation not permitted");
            });
            older.join().unwrap();
        }
    }

    /// Has the kernel answer calls of this thread, and of those that it starts, with an error.
    fn refuse(calls: &[i64], error: i32) -> Result<(), Box<dyn std::error::Error>> {
        let filter = SeccompFilter::new(
            calls.iter().map(|call| (*call, Vec::new())).collect(),
            SeccompAction::Allow,
            SeccompAction::Errno(error.unsigned_abs()),
            std::env::consts::ARCH.try_into()?,
        )?;
        seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
        Ok(())
    }

    #[test]
    fn what_only_computes_is_let_through() {
        let computes = "x=1; f() { local y=$((x + 1)); [[ $y == 2 ]]; }; f && echo fine >/dev/null";
        assert_eq!(said(computes), (Some(0), String::new()));
    }

    #[test]
    fn thread_that_asks_is_not_bound() {
        said(":");
        assert!(std::net::UdpSocket::bind("127.0.0.1:0").is_ok());
        assert!(Command::new("true").status().unwrap().success());
    }
}
