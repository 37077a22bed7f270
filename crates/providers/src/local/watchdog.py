"""Runs a box's QEMU, and ends it when the box's deadline has passed or its directory is gone.

    watchdog.py DIRECTORY QEMU [ARGUMENT…]
    watchdog.py --with-maker DIRECTORY QEMU [ARGUMENT…]

It needs nobody: neither the program that started it nor the guest. It exits with QEMU. In the second form QEMU makes a
template, which is nobody's: it ends with the program that makes it, which holds the other end of standard input.
"""

import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time

arguments = sys.argv[1:]
with_maker = arguments[0] == "--with-maker"
directory, *command = arguments[with_maker:]
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


def remove():
    fcntl.flock(here, fcntl.LOCK_EX)
    if is_ours():
        shutil.rmtree(directory, ignore_errors=True)
        try:
            os.rmdir(os.path.dirname(directory))
        except OSError:
            pass  # The box's keys are there; they are not ours.


end_with_us = None
if with_maker:
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    end_with_us = lambda: prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=end_with_us)
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
