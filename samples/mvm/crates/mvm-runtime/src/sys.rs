//! The kernel's KVM interface for x86: numbers, structures, and the C functions that take them.

use std::fs::File;
use std::io;
use std::os::raw::{c_int, c_ulong, c_void};
use std::os::unix::io::{AsRawFd, FromRawFd};

extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn mmap(
        address: *mut c_void,
        length: usize,
        protection: c_int,
        flags: c_int,
        fd: c_int,
        offset: i64,
    ) -> *mut c_void;
    fn munmap(address: *mut c_void, length: usize) -> c_int;
}

pub(crate) const KVM_GET_API_VERSION: c_ulong = 0xae00;
pub(crate) const KVM_CREATE_VM: c_ulong = 0xae01;
pub(crate) const KVM_GET_VCPU_MMAP_SIZE: c_ulong = 0xae04;
pub(crate) const KVM_CREATE_VCPU: c_ulong = 0xae41;
pub(crate) const KVM_RUN: c_ulong = 0xae80;
pub(crate) const KVM_SET_USER_MEMORY_REGION: c_ulong = 0x4020_ae46;
pub(crate) const KVM_SET_REGS: c_ulong = 0x4090_ae82;
pub(crate) const KVM_GET_SREGS: c_ulong = 0x8138_ae83;
pub(crate) const KVM_SET_SREGS: c_ulong = 0x4138_ae84;

pub(crate) const EXIT_IO: u32 = 2;
pub(crate) const EXIT_HLT: u32 = 5;

const PROTECTION_READ_WRITE: c_int = 3;
const MAP_SHARED: c_int = 0x01;
const MAP_ANONYMOUS: c_int = 0x20;

#[repr(C)]
pub(crate) struct MemoryRegion {
    pub(crate) slot: u32,
    pub(crate) flags: u32,
    pub(crate) guest_address: u64,
    pub(crate) size: u64,
    pub(crate) host_address: u64,
}

#[repr(C)]
#[derive(Default)]
pub(crate) struct Registers {
    pub(crate) rax: u64,
    pub(crate) rbx: u64,
    pub(crate) others: [u64; 14],
    pub(crate) rip: u64,
    pub(crate) rflags: u64,
}

#[repr(C)]
#[derive(Default)]
pub(crate) struct Segment {
    pub(crate) base: u64,
    pub(crate) limit: u32,
    pub(crate) selector: u16,
    pub(crate) attributes: [u8; 10],
}

#[repr(C)]
#[derive(Default)]
pub(crate) struct SpecialRegisters {
    pub(crate) code: Segment,
    pub(crate) data: Segment,
    pub(crate) other_segments: [Segment; 6],
    pub(crate) others: [u64; 15],
}

/// The head of the page that the kernel shares with us for each vCPU.
#[repr(C)]
pub(crate) struct Run {
    pub(crate) request: [u8; 8],
    pub(crate) exit_reason: u32,
    pub(crate) state: [u8; 20],
    pub(crate) io: Io,
}

/// Valid when the exit reason is [`EXIT_IO`].
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Io {
    pub(crate) is_out: u8,
    pub(crate) size: u8,
    pub(crate) port: u16,
    pub(crate) count: u32,
    pub(crate) data_offset: u64,
}

/// Makes a request whose argument is a plain number, and returns the answer.
pub(crate) fn request(file: &File, request: c_ulong, argument: c_ulong) -> io::Result<c_int> {
    // SAFETY: callers pass only requests of this file that take a number and touch no memory of ours.
    let answer = unsafe { ioctl(file.as_raw_fd(), request, argument) };
    match answer {
        -1 => Err(io::Error::last_os_error()),
        answer => Ok(answer),
    }
}

/// Makes a request whose answer is a new file.
pub(crate) fn request_file(file: &File, number: c_ulong) -> io::Result<File> {
    let descriptor = request(file, number, 0)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else owns it.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Makes a request that reads, or fills, `argument`.
///
/// # Safety
/// `T` must be the structure that the kernel expects for `request`.
pub(crate) unsafe fn exchange<T>(file: &File, request: c_ulong, argument: &mut T) -> io::Result<()> {
    match ioctl(file.as_raw_fd(), request, argument as *mut T) {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Memory shared with the kernel, given back on drop.
pub(crate) struct Mapping {
    address: *mut c_void,
    length: usize,
}

impl Mapping {
    /// Returns zeroed memory of our own.
    pub(crate) fn anonymous(length: usize) -> io::Result<Self> {
        Mapping::new(length, MAP_SHARED | MAP_ANONYMOUS, -1)
    }

    /// Returns the first `length` bytes of a file.
    pub(crate) fn of(file: &File, length: usize) -> io::Result<Self> {
        Mapping::new(length, MAP_SHARED, file.as_raw_fd())
    }

    fn new(length: usize, flags: c_int, fd: c_int) -> io::Result<Self> {
        let anywhere = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let address = unsafe { mmap(anywhere, length, PROTECTION_READ_WRITE, flags, fd, 0) };
        match address as isize {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(Mapping { address, length }),
        }
    }

    pub(crate) fn address(&self) -> *mut u8 {
        self.address.cast()
    }

    /// Returns the bytes from `offset` on. The guest must not be running.
    pub(crate) fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length, "inside the mapping");
        // SAFETY: the range lies inside the mapping, and is copied before anybody can change it.
        unsafe { std::slice::from_raw_parts(self.address().add(offset), length).to_vec() }
    }

    /// Copies `bytes` to `offset`. The guest must not be running.
    pub(crate) fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length, "inside the mapping");
        // SAFETY: the range lies inside the mapping, which `bytes` can not be a part of.
        unsafe {
            let target = self.address().add(offset);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len());
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `new` made this mapping, and no reference into it outlives it.
        unsafe { munmap(self.address, self.length) };
    }
}

#[cfg(test)]
mod tests {
    use std::mem::size_of;

    use super::*;

    #[test]
    fn structures_have_the_sizes_that_the_requests_carry() {
        let in_request = |request: c_ulong| (request >> 16) as usize & 0x3fff;
        assert_eq!(size_of::<MemoryRegion>(), in_request(KVM_SET_USER_MEMORY_REGION));
        assert_eq!(size_of::<Registers>(), in_request(KVM_SET_REGS));
        assert_eq!(size_of::<SpecialRegisters>(), in_request(KVM_GET_SREGS));
        assert_eq!(size_of::<SpecialRegisters>(), in_request(KVM_SET_SREGS));
    }

    #[test]
    fn a_mapping_keeps_what_is_written() {
        let mut mapping = Mapping::anonymous(4096).unwrap();
        mapping.write(4090, b"end");
        assert_eq!(mapping.read(4088, 6), b"\0\0end\0");
    }
}
