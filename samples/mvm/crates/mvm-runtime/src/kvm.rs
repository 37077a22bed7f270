//! A microVM of one vCPU in real mode: memory, a program, and what came of running it.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io;

use mvm_core::Size;

use crate::guest::ENTRY;
use crate::sys::{self, Mapping, Registers, Run, SpecialRegisters};

/// The version of KVM's interface that this crate speaks, and the only one there has ever been.
pub const API_VERSION: i32 = 12;

/// Bytes in a page of memory.
pub const PAGE: usize = 4096;

/// Real mode reaches the first mebibyte; more would only be mapped for nothing.
const REACHABLE: usize = 1024 * 1024;

/// Opens /dev/kvm.
pub fn open() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/kvm")
}

/// Why a microVM could not be run to its end.
#[derive(Debug)]
pub enum Failed {
    /// The kernel refused a step.
    At(&'static str, io::Error),
    /// The kernel speaks another version of the interface.
    ApiVersion(i32),
    /// The size asked for is not one that this crate runs.
    Unsupported(Size),
    /// The guest stopped for a reason that no program here has; the number is KVM's.
    Stopped(u32),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::At(step, cause) => write!(f, "could not {step}: {cause}"),
            Failed::ApiVersion(version) => write!(f, "KVM speaks version {version}, not 12"),
            Failed::Unsupported(size) => write!(f, "{size} is not supported: one vCPU only"),
            Failed::Stopped(reason) => write!(f, "the guest stopped with exit reason {reason}"),
        }
    }
}

impl std::error::Error for Failed {}

/// What a guest did before it halted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The bytes it wrote to I/O ports, in order.
    pub written: Vec<(u16, u8)>,
    /// How often it left guest mode, the halt included.
    pub exits: usize,
}

/// A microVM with its memory, before and after its run.
pub struct MicroVm {
    // Dropped in this order: vCPU, VM, and only then the memory that the VM uses.
    run: Mapping,
    vcpu: File,
    _vm: File,
    memory: Mapping,
}

impl MicroVm {
    /// Makes a microVM of `size` on an open /dev/kvm.
    pub fn new(kvm: &File, size: Size) -> Result<Self, Failed> {
        if size.vcpus != 1 {
            return Err(Failed::Unsupported(size));
        }
        let version = at("ask for the version", request(kvm, sys::KVM_GET_API_VERSION))?;
        if version != API_VERSION {
            return Err(Failed::ApiVersion(version));
        }
        let vm = at("make a VM", sys::request_file(kvm, sys::KVM_CREATE_VM))?;
        let memory = at("map memory", Mapping::anonymous(REACHABLE))?;
        at("give the VM memory", give_memory(&vm, &memory))?;
        let vcpu = at("make a vCPU", sys::request_file(&vm, sys::KVM_CREATE_VCPU))?;
        let shared = at("ask for a size", request(kvm, sys::KVM_GET_VCPU_MMAP_SIZE))?;
        let run = at("map the vCPU", Mapping::of(&vcpu, shared as usize))?;
        Ok(MicroVm {
            run,
            vcpu,
            _vm: vm,
            memory,
        })
    }

    /// Loads `program` at its entry, and runs it from there with `number` in BX until it halts.
    pub fn run(&mut self, program: &[u8], number: u16) -> Result<Ended, Failed> {
        self.memory.write(usize::from(ENTRY), program);
        at("set registers", self.set_registers(number))?;
        let mut ended = Ended {
            written: Vec::new(),
            exits: 0,
        };
        loop {
            at("run the vCPU", self.enter())?;
            ended.exits += 1;
            match self.exit().exit_reason {
                sys::EXIT_HLT => return Ok(ended),
                sys::EXIT_IO => self.take_output(&mut ended.written),
                reason => return Err(Failed::Stopped(reason)),
            }
        }
    }

    /// Returns guest memory from `address` on.
    pub fn memory(&self, address: u16, length: usize) -> Vec<u8> {
        self.memory.read(usize::from(address), length)
    }

    fn set_registers(&self, number: u16) -> io::Result<()> {
        let mut special = SpecialRegisters::default();
        let mut registers = Registers {
            rbx: u64::from(number),
            rip: u64::from(ENTRY),
            rflags: 2,
            ..Registers::default()
        };
        // SAFETY: each request is paired with its own structure; `sys` tests their sizes.
        unsafe {
            sys::exchange(&self.vcpu, sys::KVM_GET_SREGS, &mut special)?;
            for segment in [&mut special.code, &mut special.data] {
                segment.base = 0;
                segment.selector = 0;
            }
            sys::exchange(&self.vcpu, sys::KVM_SET_SREGS, &mut special)?;
            sys::exchange(&self.vcpu, sys::KVM_SET_REGS, &mut registers)
        }
    }

    /// Enters the guest, again and again while signals keep it from starting.
    fn enter(&self) -> io::Result<()> {
        loop {
            match request(&self.vcpu, sys::KVM_RUN) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other.map(drop),
            }
        }
    }

    fn exit(&self) -> &Run {
        // SAFETY: the kernel's shared area begins with this structure, is page-aligned, and is not
        // written to while the guest is out.
        unsafe { &*self.run.address().cast::<Run>() }
    }

    fn take_output(&self, written: &mut Vec<(u16, u8)>) {
        let io = self.exit().io;
        if io.is_out == 1 {
            let length = usize::from(io.size) * io.count as usize;
            let bytes = self.run.read(io.data_offset as usize, length);
            written.extend(bytes.into_iter().map(|byte| (io.port, byte)));
        }
    }
}

fn request(file: &File, number: std::os::raw::c_ulong) -> io::Result<i32> {
    sys::request(file, number, 0)
}

fn give_memory(vm: &File, memory: &Mapping) -> io::Result<()> {
    let mut region = sys::MemoryRegion {
        slot: 0,
        flags: 0,
        guest_address: 0,
        size: REACHABLE as u64,
        host_address: memory.address() as u64,
    };
    // SAFETY: the request takes this structure, and the mapping outlives the VM.
    unsafe { sys::exchange(vm, sys::KVM_SET_USER_MEMORY_REGION, &mut region) }
}

fn at<T>(step: &'static str, result: io::Result<T>) -> Result<T, Failed> {
    result.map_err(|cause| Failed::At(step, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_vcpu_is_supported() {
        let not_kvm = File::open("/dev/null").unwrap();
        let size = "2x1m".parse().unwrap();
        let refused = MicroVm::new(&not_kvm, size).err().unwrap();
        assert_eq!(refused.to_string(), "2x1m is not supported: one vCPU only");
    }

    #[test]
    fn a_file_that_is_not_kvm_is_refused_by_the_step() {
        let not_kvm = File::open("/dev/null").unwrap();
        let size = "1x1m".parse().unwrap();
        let refused = MicroVm::new(&not_kvm, size).err().unwrap();
        assert!(
            refused.to_string().starts_with("could not ask for the version: "),
            "{refused}"
        );
    }
}
