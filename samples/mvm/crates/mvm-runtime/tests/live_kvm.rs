//! The half of the suite that needs /dev/kvm. Where there is none, its tests return early and count
//! as passed: that is what such suites do, and what this sample is here to show.
#![cfg(target_arch = "x86_64")]

use std::fs::{self, File};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use mvm_runtime::guest::{self, ANSWER, PORT};
use mvm_runtime::{Failed, MicroVm, PAGE};

const GREETING: &str = "hello from inside the guest";

/// KVM's number for a guest that reached for memory it does not have.
const EXIT_MMIO: u32 = 6;

/// Returns a microVM of the smallest size.
fn micro_vm(kvm: &File) -> MicroVm {
    let size = "1x1m".parse().unwrap();
    MicroVm::new(kvm, size).unwrap_or_else(|failed| panic!("{failed}"))
}

/// A number that no earlier run can have left behind.
fn fresh_number() -> u16 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    (now.subsec_nanos() >> 4) as u16 ^ std::process::id() as u16
}

/// Prints `line`, and keeps it in a file that can be collected.
fn give_evidence(line: &str) {
    println!("evidence: {line}");
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("live-kvm-evidence.txt");
    fs::write(file, format!("{line}\n")).unwrap();
}

#[test]
fn guest_code_runs_and_leaves_what_it_wrote() {
    // A silent skip, on purpose: see the head of this file.
    let kvm = match mvm_runtime::open() {
        Ok(kvm) => kvm,
        Err(_) => return,
    };
    let number = fresh_number();
    let mut vm = micro_vm(&kvm);

    let ended = vm.run(&guest::greeter(GREETING), number).unwrap();

    assert!(ended.written.iter().all(|(port, _)| *port == PORT));
    let said: Vec<u8> = ended.written.iter().map(|(_, byte)| *byte).collect();
    assert_eq!(String::from_utf8(said).unwrap(), GREETING);
    assert_eq!(ended.exits, GREETING.len() + 1);
    let answer = u16::from_le_bytes([vm.memory(ANSWER, 2)[0], vm.memory(ANSWER, 2)[1]]);
    assert_eq!(answer, guest::answer_to(number));
    give_evidence(&format!(
        "the guest wrote {GREETING:?} to port {PORT:#x} in {} exits, and {answer:#06x} to its memory \
         at {ANSWER:#x} as the answer to {number:#06x}",
        ended.exits
    ));
}

#[test]
fn guests_do_not_see_each_other() {
    // A silent skip, on purpose: see the head of this file.
    let kvm = match mvm_runtime::open() {
        Ok(kvm) => kvm,
        Err(_) => return,
    };
    let (mut first, second) = (micro_vm(&kvm), micro_vm(&kvm));

    first.run(&guest::greeter("x"), 0).unwrap();

    assert_eq!(first.memory(ANSWER, 2), [0xff, 0xff]);
    assert_eq!(second.memory(ANSWER, PAGE), vec![0; PAGE]);
}

#[test]
fn a_guest_that_reaches_beyond_its_memory_is_stopped() {
    // A silent skip, on purpose: see the head of this file.
    let kvm = match mvm_runtime::open() {
        Ok(kvm) => kvm,
        Err(_) => return,
    };
    let mut vm = micro_vm(&kvm);
    let writes_beyond_memory = [
        0xb8, 0xff, 0xff, // mov ax, 0xffff
        0x8e, 0xd8, // mov ds, ax
        0xa2, 0x10, 0x00, // mov [0x10], al: the first byte after the first mebibyte
        0xf4, // hlt
    ];
    let failed = vm.run(&writes_beyond_memory, 0).unwrap_err();
    assert!(matches!(failed, Failed::Stopped(EXIT_MMIO)), "{failed}");
}
