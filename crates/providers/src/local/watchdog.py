"""Runs a box's QEMU, and ends it when the box's deadline has passed or its directory is gone.

    watchdog.py DIRECTORY QEMU [ARGUMENT…]

It needs nobody: neither the program that started it nor the guest. It exits with QEMU.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time

directory, command = sys.argv[1], sys.argv[2:]
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


qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL)
while True:
    try:
        sys.exit(qemu.wait(timeout=1))
    except subprocess.TimeoutExpired:
        if not is_ours() or is_over():
            qemu.kill()
            qemu.wait()
            remove()
            sys.exit(1)
