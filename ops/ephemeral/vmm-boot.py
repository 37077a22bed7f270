#!/usr/bin/env python3
# The second half of the KVM gate: a real Linux kernel boots in the VMM that stage 1 installed.
#
# The gate's own guests do what kernels do, in a few bytes; this boots the box's own kernel
# in Firecracker, as far as it gets without a root disk.
#
#   vmm-boot.py extract KERNEL IMAGE    makes of a distribution's kernel file what Firecracker boots
#   vmm-boot.py boot VMM IMAGE          boots it, and says in one sentence how far it got
#
# Exit status: 0 it booted, 1 it did not, 2 wrong usage, 77 there is no kernel that can be tried.

import ctypes
import gzip
import json
import lzma
import os
import re
import select
import struct
import subprocess
import sys
import tempfile
import time

BOOT_MAX = 90  # seconds; natively it takes one
# A kernel that looks for its root disk has set up memory, interrupts, timers and processes.
AT_ROOT = re.compile(rb"unable to mount root fs|No working init found|Cannot open root device", re.I)
# The lines in which a VMM or a kernel says what went wrong, and what stands before them in a log.
TELLING = re.compile(r"KVM_EXIT|error|fail|panic|\bBUG\b|not supported|denied", re.I)
LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\dT\S+ (\[[^\]]*\] ?)?")
BANNER = re.compile(rb"Linux version (\S+)")


class NoKernel(Exception):
    # There is nothing to boot.
    pass


def decompress(data):
    if data[:2] == b"\x1f\x8b":
        return gzip.decompress(data)
    if data[:6] == b"\xfd7zXZ\x00" or data[:3] == b"\x5d\x00\x00":
        unpacker = lzma.LZMADecompressor()
        unpacked = unpacker.decompress(data)
        if not unpacker.eof:
            raise NoKernel("the kernel's xz stream is cut")
        return unpacked
    if data[:4] == b"\x02\x21\x4c\x18":
        return b"".join(lz4_blocks(data[4:]))
    if data[:4] == b"\x28\xb5\x2f\xfd":
        return zstd(data)
    raise NoKernel("the kernel is compressed in an unknown way")


def library(name):
    # A library that is on every Debian and Ubuntu, as dpkg and systemd need it; the program of its name is not.
    try:
        return ctypes.CDLL(name)
    except OSError as error:
        raise NoKernel(f"the kernel is compressed, and what unpacks it is not installed: {error}") from None


def lz4_blocks(data):
    # What `lz4 -l` makes: blocks of 8 MiB, each with its size in front.
    lz4, block = library("liblz4.so.1"), ctypes.create_string_buffer(8 << 20)
    while len(data) >= 4:
        (size,) = struct.unpack_from("<I", data)
        got = lz4.LZ4_decompress_safe(data[4 : 4 + size], block, size, len(block))
        if size + 4 > len(data) or got < 0:
            raise NoKernel("the kernel's lz4 blocks are damaged")
        yield block.raw[:got]
        data = data[4 + size :]


def zstd(data):
    # One frame; what follows it in the file is not its own.
    lib = library("libzstd.so.1")
    for function in (lib.ZSTD_findFrameCompressedSize, lib.ZSTD_decompressBound, lib.ZSTD_decompress):
        function.restype = ctypes.c_size_t
    size = lib.ZSTD_findFrameCompressedSize(data, ctypes.c_size_t(len(data)))
    if size > len(data):
        raise NoKernel("the kernel's zstd frame is damaged")
    room = lib.ZSTD_decompressBound(data, ctypes.c_size_t(size))
    # An error is a number just below 2^64.
    unpacked = ctypes.create_string_buffer(room) if room < 1 << 40 else b""
    got = lib.ZSTD_decompress(unpacked, ctypes.c_size_t(room), data, ctypes.c_size_t(size))
    if got > room or not unpacked:
        raise NoKernel("the kernel's zstd frame is damaged")
    return unpacked.raw[:got]


def image(data):
    # The ELF file or the arm64 Image inside of what a distribution installs.
    if data[:4] == b"\x7fELF" or data[0x38:0x3C] == b"ARM\x64" and data[4:8] != b"zimg":
        return data
    if data[:2] == b"\x1f\x8b":
        return decompress(data)
    if data[4:8] == b"zimg":  # EFI zboot, include/linux/efi.h
        start, size = struct.unpack_from("<II", data, 8)
        return decompress(data[start : start + size])
    if data[0x202:0x206] == b"HdrS":  # bzImage, Documentation/arch/x86/boot.rst
        sectors = data[0x1F1] or 4
        start, size = struct.unpack_from("<II", data, 0x248)
        start += (sectors + 1) * 512
        # The last four bytes are the size of what comes out.
        return decompress(data[start : start + size - 4])
    raise NoKernel("the kernel file is of an unknown kind")


def extract(kernel, out):
    try:
        with open(kernel, "rb") as file:
            data = image(file.read())
    except (OSError, EOFError, lzma.LZMAError, struct.error) as error:
        raise NoKernel(f"{kernel}: {error}") from None
    with open(out, "wb") as file:
        file.write(data)
    os.chmod(out, 0o644)


def boot(vmm, kernel):
    config = {
        "boot-source": {"kernel_image_path": kernel, "boot_args": "console=ttyS0 reboot=k panic=-1 pci=off nomodule"},
        "drives": [],
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 256},
    }
    with tempfile.TemporaryDirectory() as work:
        path = os.path.join(work, "vm.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(config, file)
        began = time.monotonic()
        with subprocess.Popen(
            [vmm, "--no-api", "--config-file", path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            try:
                return watch(process, began)
            finally:
                process.kill()


def watch(process, began):
    console = b""
    while (left := began + BOOT_MAX - time.monotonic()) > 0:
        ready, _, _ = select.select([process.stdout], [], [], left)
        piece = os.read(process.stdout.fileno(), 65536) if ready else b""
        if not piece:
            break
        console = (console + piece)[-1_000_000:]
        if AT_ROOT.search(console):
            banner = BANNER.search(console)
            version = banner[1].decode(errors="replace") if banner else "of unknown version"
            return True, f"Linux {version} booted until it looked for its root disk, in {time.monotonic() - began:.1f} s"
    how = "did not boot a Linux kernel to the end" if BANNER.search(console) else "did not start a Linux kernel"
    return False, f"the VMM {how}: {own_words(console.decode(errors='replace'))}"


def own_words(console):
    # What it said went wrong, and its last line: that one alone is often `exiting with error`.
    lines = [LOG_PREFIX.sub("", line.strip())[:200] for line in console.splitlines() if line.strip()]
    if not lines:
        return "it wrote nothing"
    words = [line for line in lines[:-1] if TELLING.search(line)][-3:] + lines[-1:]
    return "; ".join(dict.fromkeys(words))


def main(arguments):
    match arguments:
        case ["extract", kernel, out]:
            extract(kernel, out)
            return 0
        case ["boot", vmm, kernel]:
            is_booted, sentence = boot(vmm, kernel)
            print(sentence)
            return 0 if is_booted else 1
    print("usage: vmm-boot.py extract KERNEL IMAGE | boot VMM IMAGE", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except NoKernel as error:
        print(error)
        sys.exit(77)
