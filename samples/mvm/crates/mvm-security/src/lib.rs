//! Seccomp filters: built as classic BPF, and put on the calling thread with prctl(2).

use std::io;

mod sys;

pub use sys::calls;

/// One instruction of classic BPF, as the kernel reads it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    value: u32,
}

/// What happens to a system call that a filter does not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// It fails with this error number.
    Error(u16),
    /// It kills the process.
    Kill,
}

impl Denial {
    fn action(self) -> u32 {
        match self {
            Denial::Error(number) => ACTION_ERROR | u32::from(number),
            Denial::Kill => ACTION_KILL_PROCESS,
        }
    }
}

/// A filter that lets every system call through except those named.
#[derive(Clone, Debug)]
pub struct Filter {
    program: Vec<Instruction>,
}

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

const ACTION_KILL_PROCESS: u32 = 0x8000_0000;
const ACTION_ERROR: u32 = 0x0005_0000;
const ACTION_ALLOW: u32 = 0x7fff_0000;

/// Offsets in the kernel's `struct seccomp_data`.
const CALL_NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;

impl Filter {
    /// Returns a filter that answers each of `denied` with `denial`.
    pub fn denying(denied: &[u32], denial: Denial) -> Self {
        let mut program = vec![
            load(ARCHITECTURE),
            // A call in another architecture's numbering would pass under a wrong number.
            skip_if_equal(sys::AUDIT_ARCHITECTURE, 1),
            answer(ACTION_KILL_PROCESS),
            load(CALL_NUMBER),
        ];
        for call in denied {
            program.push(skip_unless_equal(*call, 1));
            program.push(answer(denial.action()));
        }
        program.push(answer(ACTION_ALLOW));
        Filter { program }
    }

    /// Puts the filter on the calling thread, and on all that it starts. It can not be taken off.
    pub fn apply(&self) -> io::Result<()> {
        sys::forbid_new_privileges()?;
        sys::install(&self.program)
    }
}

fn load(offset: u32) -> Instruction {
    instruction(LOAD, 0, 0, offset)
}

fn skip_if_equal(value: u32, count: u8) -> Instruction {
    instruction(JUMP_IF_EQUAL, count, 0, value)
}

fn skip_unless_equal(value: u32, count: u8) -> Instruction {
    instruction(JUMP_IF_EQUAL, 0, count, value)
}

fn answer(action: u32) -> Instruction {
    instruction(RETURN, 0, 0, action)
}

fn instruction(code: u16, jump_true: u8, jump_false: u8, value: u32) -> Instruction {
    Instruction {
        code,
        jump_true,
        jump_false,
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel would, for the three instructions that it uses.
    fn run(filter: &Filter, architecture: u32, call: u32) -> u32 {
        let mut loaded = 0;
        let mut at = 0;
        loop {
            let step = filter.program[at];
            at += 1;
            match step.code {
                LOAD if step.value == CALL_NUMBER => loaded = call,
                LOAD => loaded = architecture,
                JUMP_IF_EQUAL if loaded == step.value => at += usize::from(step.jump_true),
                JUMP_IF_EQUAL => at += usize::from(step.jump_false),
                RETURN => return step.value,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn only_named_calls_are_denied() {
        let filter = Filter::denying(&[7, 300], Denial::Error(1));
        for call in 0..500 {
            let expected = match call {
                7 | 300 => ACTION_ERROR | 1,
                _ => ACTION_ALLOW,
            };
            assert_eq!(run(&filter, sys::AUDIT_ARCHITECTURE, call), expected);
        }
    }

    #[test]
    fn another_architecture_is_killed() {
        let filter = Filter::denying(&[7], Denial::Error(1));
        assert_eq!(run(&filter, 0x4000_0003, 7), ACTION_KILL_PROCESS);
        assert_eq!(run(&filter, 0x4000_0003, 8), ACTION_KILL_PROCESS);
    }

    #[test]
    fn a_filter_without_names_lets_all_through() {
        let filter = Filter::denying(&[], Denial::Kill);
        assert_eq!(run(&filter, sys::AUDIT_ARCHITECTURE, 7), ACTION_ALLOW);
    }

    #[test]
    fn an_instruction_has_the_size_the_kernel_expects() {
        assert_eq!(std::mem::size_of::<Instruction>(), 8);
    }
}
