"""Runs a box's QEMU, and ends it when the box's deadline has passed or its directory is gone.

    watchdog.py [--with-maker] [--filter RULES] [--hold DIRECTORY]… DIRECTORY QEMU [ARGUMENT…]

It needs nobody: neither the program that started it nor the guest. It exits with QEMU. With a maker QEMU makes a
template, which is nobody's: it ends with the program that makes it, which holds the other end of standard input. What the
guest sends passes filter.py, which gets RULES: QEMU finds the two ends as descriptors 100 and 101. What is held is a
directory of the cache that QEMU reads: it stays locked, so that nobody deletes it.
"""

import ctypes
import fcntl
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time

# How much of a console is kept: root in a box may write without end.
CONSOLE_MAX = 64 << 20
CONSOLE_KEPT = 1 << 20

arguments = sys.argv[1:]
with_maker = arguments[0] == "--with-maker"
arguments = arguments[with_maker:]
rules = None
if arguments[0] == "--filter":
    rules, arguments = arguments[1].split(), arguments[2:]
while arguments[0] == "--hold":
    fcntl.flock(os.open(arguments[1], os.O_RDONLY), fcntl.LOCK_SH)
    arguments = arguments[2:]
directory, *command = arguments
os.setsid()
os.chdir(directory)
here = os.open(".", os.O_RDONLY)
deadline = None


def is_ours():
    try:
        there = os.stat(directory)
    except FileNotFoundError:
        return False
    return there.st_ino == os.fstat(here).st_ino


def is_over():
    global deadline
    if with_maker:
        return bool(select.select([0], [], [], 0)[0])  # Nothing is ever sent: it is closed.
    try:
        with open("box.json", encoding="utf-8") as file:
            deadline = int(json.load(file)["tags"]["mvm-deadline"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # The last one that could be read counts.
    return deadline is not None and time.time() >= deadline


def cut_console():
    """Leaves the end of a console that is too long. QEMU appends to it, whatever its length is."""
    try:
        if os.stat("console.log").st_size <= CONSOLE_MAX:
            return
        with open("console.log", "r+b") as file:
            file.seek(-CONSOLE_KEPT, os.SEEK_END)
            end = file.read(CONSOLE_KEPT)
            file.truncate(0)
        with open("console.log", "ab") as file:
            file.write(b"[what came before was more than %d MiB, and is not kept]\n" % (CONSOLE_MAX >> 20) + end)
    except OSError:
        pass


def remove():
    fcntl.flock(here, fcntl.LOCK_EX)
    if is_ours():
        shutil.rmtree(directory, ignore_errors=True)
        try:
            os.rmdir(os.path.dirname(directory))
        except OSError:
            pass  # The box's keys are there; they are not ours.


def filter_network():
    """Starts the filter, and returns the descriptors that QEMU writes frames to and reads them from."""
    (sent, to_filter), (passed, from_filter) = socket.socketpair(), socket.socketpair()
    subprocess.Popen(
        [sys.executable, "-I", "filter.py", *rules], stdin=to_filter, stdout=from_filter, env={}, preexec_fn=confine
    )
    for number, end in ((100, sent), (101, passed)):
        os.dup2(end.fileno(), number)
    for end in (sent, to_filter, passed, from_filter):
        end.close()
    return (100, 101)


prctl = ctypes.CDLL(None).prctl


def confine():
    prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    if with_maker:
        prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


ends = filter_network() if rules else ()
program, command[0] = command[0], os.path.basename(command[0])
qemu = subprocess.Popen(
    command, executable=program, stdin=subprocess.DEVNULL, pass_fds=ends, env={}, preexec_fn=confine
)
# The filter ends with QEMU, and QEMU sends nothing more without the filter, once nobody else holds their ends.
for end in ends:
    os.close(end)
while True:
    try:
        code = qemu.wait(timeout=1)
        if is_ours():
            with open("qemu.ended", "w", encoding="utf-8") as file:
                print(f"by signal {-code}" if code < 0 else f"with exit code {code}", file=file)
        sys.exit(code)
    except subprocess.TimeoutExpired:
        if not is_ours() or is_over():
            qemu.kill()
            qemu.wait()
            remove()
            sys.exit(1)
        cut_console()
