//! The processes of one call of an adapter, and their end.
//!
//! A call is the leader of a session, and its environment bears a mark of its own. Both are handed down: who leaves the
//! session, as a daemon does, still has the mark; who empties its environment is still in the session. Who does both, or has
//! another program start something (`systemd-run`, `docker`, `sudo`), is not found, nor is any daemon where there is no `/proc`.

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::Child;

/// The variable that holds the mark.
pub(crate) const MARK: &str = "TWOLANE_CALL";

/// How often it is looked for more than was found: each look kills all that was there, and only what was born meanwhile is left.
const LOOKS_MAX: usize = 100;

/// What a call has started. All of it is killed when this is dropped.
pub(crate) struct Processes {
    leader: Option<Pid>,
    mark: String,
    may_leave_daemons: bool,
}

/// Returns a mark that no other call has.
pub(crate) fn mark() -> String {
    format!("{:016x}", RandomState::new().build_hasher().finish())
}

impl Processes {
    /// Begins to answer for a call that has just been started with a mark.
    pub(crate) fn of(child: &Child, mark: String) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self {
            leader: id.and_then(Pid::from_raw),
            mark,
            may_leave_daemons: false,
        }
    }

    /// Lets live what has a session of its own: it may be the box.
    pub(crate) fn leave_daemons(&mut self) {
        self.may_leave_daemons = true;
    }

    /// Returns whether a process is one of the call's that must not stay.
    fn has(&self, process: Pid) -> bool {
        let id = process.as_raw_nonzero();
        let in_session =
            fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| session(&stat) == self.leader);
        let is_marked = || {
            let wanted = format!("{MARK}={}", self.mark);
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|it| it == wanted.as_bytes())
        };
        in_session || !self.may_leave_daemons && is_marked()
    }

    /// Kills all that must not stay, until nothing new is found.
    fn end(&self, leader: Pid) {
        // All that there is to find where there is no `/proc`.
        let _ = kill_process_group(leader, Signal::KILL);
        let mut killed = BTreeSet::new();
        for _ in 0..LOOKS_MAX {
            let found: Vec<Pid> = processes().filter(|process| self.has(*process)).collect();
            let mut is_new = false;
            for process in found {
                let _ = kill_process(process, Signal::KILL);
                is_new |= killed.insert(process.as_raw_nonzero());
            }
            if !is_new {
                return;
            }
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            self.end(leader);
        }
    }
}

fn processes() -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
}

/// Reads the session from `17 (a name) S 1 17 17 …`; the name may hold anything.
fn session(stat: &str) -> Option<Pid> {
    let (_, rest) = stat.rsplit_once(") ")?;
    Pid::from_raw(rest.split(' ').nth(3)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_is_read_whatever_a_process_calls_itself() {
        let read = |stat| session(stat).map(|pid| pid.as_raw_nonzero().get());
        assert_eq!(read("17 (sleep) S 1 16 15 0 -1"), Some(15));
        assert_eq!(read("17 (a) S 1 2 3 ) S 1 16 15 0 -1"), Some(15));
        assert_eq!(read("17 (sleep) S 1"), None);
        assert_eq!(read(""), None);
    }
}
