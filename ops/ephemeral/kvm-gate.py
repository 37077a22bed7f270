#!/usr/bin/env python3
# The KVM gate: says whether /dev/kvm really runs guests, here and now.
#
# The same probe serves the operator's machine and the box. It needs nothing but
# Python's standard library, changes nothing, and prints one JSON document.
#
# Looking for the file, or running a trivial guest, is not enough: some nested hosts
# run simple code and no real kernel. So the guests here do what kernels do: 64-bit
# code at upper-half addresses, an exception taken and returned from, and
# `lock cmpxchg16b` as the first access to a page. Each runs in a VM of its own, in a
# child process that is cut when it hangs.
#
#   kvm-gate.py [--device /dev/kvm] [--limit SECONDS-OF-ONE-STEP]
#
# Exit status: 0 works, 1 does not work, 2 wrong usage.

# On an emulated CPU every import costs: none here that brings `re` or `enum` along.
import ctypes
import errno
import fcntl
import grp
import marshal
import mmap
import os
import pwd
import select
import struct
import sys
import time

# --- The guests: the bytes, and above them the assembly that makes them (a test assembles
# --- it and compares). They report through port 0x10, then halt.

#   .code16
#   movb $0x20, %al
#   addb $0x22, %al
#   outb %al, $0x10
#   hlt
REAL_MODE = "b020 0422 e610 f4"

#   .code64
#   leaq 0(%rip), %rax          # our own address: upper half, or we are not where we think
#   sarq $63, %rax
#   negb %al                    # 1 when the address was negative
#   outb %al, $0x10
#   hlt
LONG_MODE = "488d0500000000 48c1f83f f6d8 e610 f4"

# The handler of #UD stands first, at CODE: it counts in %bl and steps over `ud2`.
#   .code64
#   incb %bl
#   addq $2, (%rsp)
#   iretq
#   movb $0, %bl
#   ud2
#   movb %bl, %al
#   outb %al, $0x10
#   hlt
EXCEPTION = "fec3 4883042402 48cf b300 0f0b 88d8 e610 f4"
EXCEPTION_ENTRY = 9  # bytes of handler before the code that starts

#   .code64
#   movq $0xffffffff80100000, %rdi
#   xorl %eax, %eax
#   xorl %edx, %edx
#   movl $1, %ebx
#   movl $2, %ecx
#   lock cmpxchg16b (%rdi)
#   setz %al                    # 1 when the page was zero, and so the exchange took place
#   addb 8(%rdi), %al           # and 2, the half that it wrote
#   outb %al, $0x10
#   hlt
CMPXCHG16B = "48c7c700001080 31c0 31d2 bb01000000 b902000000 f0480fc70f 0f94c0 024708 e610 f4"

#   .code64
#   movl $1000000, %ecx
#   outb %al, $0x11
#   1:  decl %ecx
#   jnz 1b
#   movb $0x2a, %al
#   outb %al, $0x10
#   hlt
LOOP = "b940420f00 e611 ffc9 75fc b02a e610 f4"
LOOP_NATIVE_MICROS = 20_000  # Real hardware needs 300 to 2,000.
LOOP_ABSURD_MICROS = 10_000_000

# --- Guest memory: 2 MiB, seen at UPPER in long mode. The page at 1 MiB stays untouched.

UPPER = 0xFFFFFFFF80000000
MEMORY = 2 << 20
PML4, PDPT, PD, GDT, IDT, TSS, CODE, STACK = (
    0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x8000, 0x10000,
)

# --- <linux/kvm.h>

KVM_GET_API_VERSION = 0xAE00
KVM_CREATE_VM = 0xAE01
KVM_GET_VCPU_MMAP_SIZE = 0xAE04
KVM_GET_SUPPORTED_CPUID = 0xC008AE05
KVM_CREATE_VCPU = 0xAE41
KVM_SET_USER_MEMORY_REGION = 0x4020AE46
KVM_SET_TSS_ADDR = 0xAE47
KVM_SET_IDENTITY_MAP_ADDR = 0x4008AE48
KVM_RUN = 0xAE80
KVM_SET_REGS = 0x4090AE82
KVM_GET_SREGS = 0x8138AE83
KVM_SET_SREGS = 0x4138AE84
KVM_SET_CPUID2 = 0x4008AE90

EXIT_IO, EXIT_HLT, EXIT_SHUTDOWN, EXIT_FAIL_ENTRY, EXIT_INTERNAL_ERROR = 2, 5, 8, 9, 17
EXIT_NAMES = {
    1: "KVM_EXIT_EXCEPTION", 2: "KVM_EXIT_IO", 5: "KVM_EXIT_HLT", 6: "KVM_EXIT_MMIO",
    8: "KVM_EXIT_SHUTDOWN", 9: "KVM_EXIT_FAIL_ENTRY", 10: "KVM_EXIT_INTR",
    17: "KVM_EXIT_INTERNAL_ERROR", 24: "KVM_EXIT_SYSTEM_EVENT",
}

# Name, what a reader calls it, guest, entry offset, what it must report.
GUESTS = [
    ("real-mode", "a few bytes of real-mode code", REAL_MODE, 0, 0x42),
    ("long-mode", "64-bit code at kernel addresses", LONG_MODE, 0, 1),
    ("exception", "taking #UD and returning from it", EXCEPTION, EXCEPTION_ENTRY, 1),
    ("cmpxchg16b", "`lock cmpxchg16b` on an untouched page", CMPXCHG16B, 0, 3),
    ("loop", "a loop of a million passes", LOOP, 0, 0x2A),
]


class NotWorking(Exception):
    # A step that did not do what it must; the text says what it did.
    pass


def code(guest):
    return bytes.fromhex(guest.replace(" ", ""))


class Vm:
    # One VM with one CPU and 2 MiB of memory that nobody has touched.

    def __init__(self, kvm):
        self.fd = fcntl.ioctl(kvm, KVM_CREATE_VM, 0)
        # Old Intel CPUs need three pages of ours for real mode; others ignore this.
        fcntl.ioctl(self.fd, KVM_SET_IDENTITY_MAP_ADDR, struct.pack("<Q", 0x7FFBC000))
        fcntl.ioctl(self.fd, KVM_SET_TSS_ADDR, 0x7FFBD000)
        self.memory = mmap.mmap(-1, MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        region = struct.pack("<IIQQQ", 0, 0, 0, MEMORY, address)
        fcntl.ioctl(self.fd, KVM_SET_USER_MEMORY_REGION, region)
        self.cpu = fcntl.ioctl(self.fd, KVM_CREATE_VCPU, 0)
        self._show_all_cpu_features(kvm)
        size = fcntl.ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0)
        self.run_page = mmap.mmap(self.cpu, size, flags=mmap.MAP_SHARED)

    def _show_all_cpu_features(self, kvm):
        entries = 256
        table = bytearray(struct.pack("<II", entries, 0) + bytes(40 * entries))
        fcntl.ioctl(kvm, KVM_GET_SUPPORTED_CPUID, table, True)
        fcntl.ioctl(self.cpu, KVM_SET_CPUID2, table, True)

    def enter_real_mode(self, program):
        self.memory[CODE : CODE + len(program)] = program
        sregs = bytearray(0x138)
        fcntl.ioctl(self.cpu, KVM_GET_SREGS, sregs, True)
        struct.pack_into("<Q", sregs, 0, 0)  # cs.base
        struct.pack_into("<H", sregs, 12, 0)  # cs.selector
        fcntl.ioctl(self.cpu, KVM_SET_SREGS, bytes(sregs))
        self._set_regs(ip=CODE, sp=STACK)

    def enter_long_mode(self, program, entry):
        self.memory[CODE : CODE + len(program)] = program
        put = lambda at, value: struct.pack_into("<Q", self.memory, at, value)
        put(PML4 + 511 * 8, PDPT | 3)  # present, writable
        put(PDPT + 510 * 8, PD | 3)
        put(PD, 0 | 0x83)  # one 2 MiB page
        put(GDT + 8, 0x00AF9B000000FFFF)  # 64-bit code
        put(GDT + 16, 0x00CF93000000FFFF)  # data
        handler = UPPER + CODE
        gate = struct.pack(
            "<HHBBHII", handler & 0xFFFF, 8, 0, 0x8E, handler >> 16 & 0xFFFF, handler >> 32, 0
        )
        self.memory[IDT + 6 * 16 : IDT + 7 * 16] = gate
        # struct kvm_sregs: eight segments, two tables, control registers, EFER.
        segment = lambda base, limit, sel, kind, db, s, long, g: struct.pack(
            "<QIHBBBBBBBBBx", base, limit, sel, kind, 1, 0, db, s, long, g, 0, 0
        )
        data = segment(0, 0xFFFFFFFF, 16, 3, 1, 1, 0, 1)
        sregs = segment(0, 0xFFFFFFFF, 8, 11, 0, 1, 1, 1) + data * 5
        sregs += segment(UPPER + TSS, 0x67, 24, 11, 0, 0, 0, 0)  # tr
        sregs += struct.pack("<QIHBBBBBBBBBx", 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1)  # ldt, unusable
        sregs += struct.pack("<QH6x", UPPER + GDT, 31) + struct.pack("<QH6x", UPPER + IDT, 255)
        cr0, cr4, efer = 0x80050033, 0x620, 0xD00  # paging and SSE on; LMA, LME, NXE
        old = bytearray(0x138)
        fcntl.ioctl(self.cpu, KVM_GET_SREGS, old, True)
        apic_base = old[len(sregs) + 48 : len(sregs) + 56]
        sregs += struct.pack("<QQQQQQ", cr0, 0, PML4, cr4, 0, efer) + bytes(apic_base)
        fcntl.ioctl(self.cpu, KVM_SET_SREGS, sregs.ljust(0x138, b"\0"))
        self._set_regs(ip=UPPER + CODE + entry, sp=UPPER + STACK)

    def _set_regs(self, ip, sp):
        # struct kvm_regs: rax rbx rcx rdx rsi rdi rsp rbp r8…r15 rip rflags
        regs = [0] * 18
        regs[6], regs[16], regs[17] = sp, ip, 2
        fcntl.ioctl(self.cpu, KVM_SET_REGS, struct.pack("<18Q", *regs))

    def run(self):
        # Runs to HLT; returns what the guest sent to port 0x10, and the microseconds
        # from its sign at port 0x11 (else from the start) to that.
        reported, begun, micros = None, time.perf_counter_ns(), 0
        while True:
            fcntl.ioctl(self.cpu, KVM_RUN, 0)
            reason = struct.unpack_from("<I", self.run_page, 8)[0]
            if reason == EXIT_IO:
                port = struct.unpack_from("<H", self.run_page, 34)[0]
                at = struct.unpack_from("<Q", self.run_page, 40)[0]
                if port == 0x11:
                    begun = time.perf_counter_ns()
                else:
                    reported, micros = self.run_page[at], (time.perf_counter_ns() - begun) // 1000
            elif reason == EXIT_HLT:
                return reported, micros
            else:
                raise NotWorking("ended in " + self._explain(reason))

    def _explain(self, reason):
        name = EXIT_NAMES.get(reason, f"exit reason {reason}")
        if reason == EXIT_INTERNAL_ERROR:
            return f"{name}, suberror {struct.unpack_from('<I', self.run_page, 32)[0]}"
        if reason == EXIT_FAIL_ENTRY:
            return f"{name}, hardware reason {struct.unpack_from('<Q', self.run_page, 32)[0]:#x}"
        if reason == EXIT_SHUTDOWN:
            return f"{name} (triple fault)"
        return name


# --- The steps, each a function that returns a detail or raises.


def open_device(path):
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise NotWorking(why_not_opened(path, error)) from error


def why_not_opened(path, error):
    if error.errno == errno.ENOENT:
        flags = cpu_info().get("flags", "").split()
        if "vmx" not in flags and "svm" not in flags:
            return "is not there, and the CPU shows neither vmx nor svm: no virtualisation is given to this machine"
        module = "kvm_intel" if "vmx" in flags else "kvm_amd"
        return f"is not there although the CPU could: the module {module} is not loaded"
    if error.errno in (errno.EACCES, errno.EPERM):
        about = os.stat(path)
        return (
            f"may not be opened by user {user_name()}: it belongs to "
            f"{name_of(pwd.getpwuid, about.st_uid)}:{name_of(grp.getgrgid, about.st_gid)} with mode {about.st_mode & 0o777:04o}"
        )
    return f"could not be opened: {error.strerror}"


def check_api(kvm):
    try:
        version = fcntl.ioctl(kvm, KVM_GET_API_VERSION, 0)
    except OSError as error:
        raise NotWorking(f"does not answer as KVM: {error.strerror}") from error
    if version != 12:
        raise NotWorking(f"has API version {version}, not 12")
    return "12"


def create_vm(kvm):
    os.close(fcntl.ioctl(kvm, KVM_CREATE_VM, 0))
    return "created"


def run_guest(kvm, name, guest, entry, wanted):
    vm = Vm(kvm)
    if name == "real-mode":
        vm.enter_real_mode(code(guest))
    else:
        vm.enter_long_mode(code(guest), entry)
    reported, micros = vm.run()
    if reported != wanted:
        raise NotWorking(f"gave {reported} where {wanted} is right")
    if name != "loop":
        return "reached HLT"
    if micros > LOOP_ABSURD_MICROS:
        raise NotWorking(f"took {micros / 1e6:.1f} s, thousands of times too long")
    return f"{micros} us: {'native' if micros <= LOOP_NATIVE_MICROS else 'emulated'} speed"


def steps(path):
    # Yields (name, what, function) in order; each function gets what `open` returned.
    yield "open", "opening it", lambda _: open_device(path)
    yield "api-version", "its API version", check_api
    yield "create-vm", "creating a VM", create_vm
    for name, what, guest, entry, wanted in GUESTS:
        run = lambda kvm, g=(name, guest, entry, wanted): run_guest(kvm, *g)
        yield name, what, (run if os.uname().machine in ("x86_64", "amd64") else None)


# --- The child does the steps and reports each; the parent holds the watch.


def child(path, pipe):
    tell = lambda **what: send(pipe, what)
    kvm, broken = None, False
    for name, _, function in steps(path):
        if function is None:
            tell(name=name, ok=None, detail=f"not probed on {os.uname().machine}", micros=0)
            continue
        if broken:
            tell(name=name, ok=None, detail="not reached", micros=0)
            continue
        tell(begin=name)
        begun = time.perf_counter_ns()
        try:
            answer, ok = function(kvm), True
            if name == "open":
                kvm, answer = answer, "opened"
        except NotWorking as error:
            answer, ok = str(error), False
        except OSError as error:
            answer, ok = f"failed: {error.strerror}", False
        except Exception as error:  # a mistake of ours must not look like the machine's
            answer, ok = f"could not be probed: {error!r}", False
        # Without these three there is nothing to run a guest on. A guest that fails
        # says nothing about the next one.
        broken = not ok and name in ("open", "api-version", "create-vm")
        tell(name=name, ok=ok, detail=answer, micros=(time.perf_counter_ns() - begun) // 1000)


def send(pipe, what):
    text = marshal.dumps(what)
    os.write(pipe, len(text).to_bytes(4, "little") + text)


def received(data):
    # The whole messages in what came so far, and the rest.
    messages = []
    while len(data) >= 4 and len(data) >= (end := 4 + int.from_bytes(data[:4], "little")):
        messages.append(marshal.loads(data[4:end]))
        data = data[end:]
    return messages, data


def watch(pid, pipe, limit):
    # Collects the child's steps; cuts it when one step takes longer than the limit.
    done, current, rest = [], None, b""
    while True:
        ready, _, _ = select.select([pipe], [], [], limit)
        if not ready:
            os.kill(pid, 9)
            return done, current, f"hung, and was cut after {limit:g} s"
        data = os.read(pipe, 65536)
        if not data:
            _, status = os.waitpid(pid, 0)
            return done, current, None if status == 0 else f"killed the probe (wait status {status})"
        messages, rest = received(rest + data)
        for message in messages:
            if "begin" in message:
                current = message["begin"]
            else:
                current = None
                done.append(message)


def probe(path, limit):
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        try:
            child(path, theirs)
            os._exit(0)
        except BaseException as error:  # the parent reports it
            os.write(2, f"kvm-gate: {error!r}\n".encode())
            os._exit(3)
    os.close(theirs)
    done, current, cut = watch(pid, ours, limit)
    known = {step["name"] for step in done}
    for name, _, _ in steps(path):
        if name not in known:
            ok, detail = (False, cut) if name == current else (None, "not reached")
            done.append({"name": name, "ok": ok, "detail": detail, "micros": 0})
    return done


def sentence(path, done, known):
    # The one sentence: why it does not work, or what works.
    failed = next((step for step in done if step["ok"] is False), None)
    if failed is None:
        about = (known.get(key) for key in ("machine", "cpu_vendor", "virtualization", "nested_paging"))
        return f"{path} works: " + ", ".join(filter(None, about))
    if failed["name"] in ("open", "api-version"):
        return f"{path} {failed['detail']}"
    what = {name: what for name, what, _ in steps(path)}[failed["name"]]
    runs = any(step["ok"] for step in done if step["name"] in [guest[0] for guest in GUESTS])
    start = "runs simple guests but no real kernel" if runs else "is there but does not work"
    return f"{path} {start}: {what} {failed['detail']}"


# --- Facts for the report. What cannot be read is left out.


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return None


def names_in(directory):
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def cpu_info():
    first = (read("/proc/cpuinfo") or "").split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def name_of(lookup, number):
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def user_name():
    return name_of(pwd.getpwuid, os.getuid())


def facts(done):
    cpu = cpu_info()
    flags = cpu.get("flags", "").split()
    modules = {}
    for module in (name for name in names_in("/sys/module") if name.startswith("kvm")):
        parameters = f"/sys/module/{module}/parameters"
        values = {name: read(f"{parameters}/{name}") for name in names_in(parameters)}
        modules[module] = {k: v for k, v in values.items() if v is not None}
    on = lambda module, key: modules.get(module, {}).get(key) in ("Y", "1")
    paging = [k for m, k in (("kvm_intel", "ept"), ("kvm_amd", "npt")) if on(m, k)]
    loop = next((s["detail"].split() for s in done if s["name"] == "loop" and s["ok"]), None)
    known = {
        "cpu_vendor": cpu.get("vendor_id") or cpu.get("CPU implementer"),
        "cpu_model": cpu.get("model name"),
        "virtualization": next((flag for flag in ("vmx", "svm") if flag in flags), None),
        "machine": "nested" if "hypervisor" in flags else "bare metal" if flags else None,
        "hypervisor": read("/sys/class/dmi/id/sys_vendor") if "hypervisor" in flags else None,
        "emulated_cpu": "TCG" in cpu.get("model name", ""),
        "nested_paging": paging[0] if paging else None,
        "loop_micros": int(loop[0]) if loop else None,
        "speed": loop[2] if loop else None,
        "modules": modules,
        "kernel": os.uname().release,
        "arch": os.uname().machine,
        "uid": os.getuid(),
        "user": user_name(),
    }
    return {key: value for key, value in known.items() if value is not None}


def to_json(value):
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return '"' + "".join(map(escaped, value)) + '"'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_json(k)}: {to_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_json, value)) + "]"
    return repr(value)


def escaped(char):
    if " " <= char <= "~" and char not in '"\\':
        return char
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def options(arguments):
    # The device and the limit; none when the usage is wrong.
    given = {"--device": "/dev/kvm", "--limit": "30"}
    pairs = iter(arguments)
    for name in pairs:
        value = next(pairs, None)
        if name not in given or value is None:
            return None
        given[name] = value
    try:
        return given["--device"], float(given["--limit"])
    except ValueError:
        return None


def main(arguments):
    given = options(arguments)
    if given is None:
        print("usage: kvm-gate.py [--device PATH] [--limit SECONDS]", file=sys.stderr)
        return 2
    device, limit = given
    done = probe(device, limit)
    works = all(step["ok"] is not False for step in done)
    known = facts(done)
    answer = {
        "probe": 1,
        "works": works,
        "sentence": sentence(device, done, known),
        "steps": done,
        "facts": known,
    }
    print(to_json(answer))
    return 0 if works else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
