//! The two prctl(2) calls, and the numbers that differ between architectures.

use std::io;
use std::os::raw::{c_int, c_ulong};

use crate::Instruction;

extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
}

const PR_SET_SECCOMP: c_int = 22;
const PR_SET_NO_NEW_PRIVS: c_int = 38;
const SECCOMP_MODE_FILTER: c_ulong = 2;

/// Numbers of the system calls that filters here name.
#[cfg(target_arch = "x86_64")]
pub mod calls {
    /// All the calls that make a directory.
    pub const MAKE_DIRECTORY: &[u32] = &[83, 258];
}

/// Numbers of the system calls that filters here name.
#[cfg(target_arch = "aarch64")]
pub mod calls {
    /// All the calls that make a directory.
    pub const MAKE_DIRECTORY: &[u32] = &[34];
}

#[cfg(target_arch = "x86_64")]
pub(crate) const AUDIT_ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(crate) const AUDIT_ARCHITECTURE: u32 = 0xc000_00b7;

/// The kernel's `struct sock_fprog`.
#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

/// Keeps this thread from gaining privileges by exec, without which only root may set a filter.
pub(crate) fn forbid_new_privileges() -> io::Result<()> {
    let (yes, unused): (c_ulong, c_ulong) = (1, 0);
    // SAFETY: the option takes plain numbers and touches no memory.
    check(unsafe { prctl(PR_SET_NO_NEW_PRIVS, yes, unused, unused, unused) })
}

/// Puts `instructions` on the calling thread.
pub(crate) fn install(instructions: &[Instruction]) -> io::Result<()> {
    let length = u16::try_from(instructions.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the filter is too long"))?;
    let program = Program {
        length,
        instructions: instructions.as_ptr(),
    };
    // SAFETY: `program` and the instructions it points to outlive the call, which copies them.
    check(unsafe { prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) })
}

fn check(returned: c_int) -> io::Result<()> {
    match returned {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
