"""A box whose root is somebody else: what sshd runs in place of each command.

    box.py DIR KEYS    DIR: what the box knows, with `fault`: WHERE HOW

It answers as a box does, up to the place where it is to be hostile, and leaves `DIR/done` when it was.
"""

import os
import shlex
import subprocess
import sys
import threading
import time

here, words = sys.argv[1], shlex.split(os.environ.get("SSH_ORIGINAL_COMMAND", ""))
try:
    with open(f"{here}/fault", encoding="utf-8") as file:
        where, how = file.read().split()
except FileNotFoundError:
    where, how = "nowhere", "fair"


def place():
    """Returns what is asked for."""
    line = " ".join(words)
    if words[0].endswith("twolane-box"):
        return words[1]
    for word, name in (
        ("stop-others", "take-over"),
        ("--sender", "bring"),
        ("--server", "copy"),
        ("comm -z", "settle"),
        ('"$PWD"', "look"),
        ("gate", "gate"),
    ):
        if word in line:
            return name
    return words[0]


def say(text, *, to=1):
    data = text if isinstance(text, bytes) else text.encode()
    while data:
        data = data[os.write(to, data) :]


def while_it_listens():
    """Goes on until the connection is gone: whoever started this then is nobody."""
    parent = os.getppid()
    while os.getppid() == parent:
        yield


def header(state, offset, size, bytes_):
    return (
        f"state={state} offset={offset} bytes={bytes_} size={size} result=success code=exited status=0 "
        "begun=1.0 ended=2.0 boot=b boot_now=b\n"
    )


def be_hostile():
    """Does what is asked of it; returns whether an honest answer follows."""
    piece = b"x" * 65535 + b"\n"
    asked = int(words[4]) if asks == "follow" else 0
    match how:
        case "floods":
            for _ in while_it_listens():
                say(piece)
        case "complains":
            for _ in while_it_listens():
                say(piece, to=2)
        case "hangs":
            for _ in while_it_listens():
                time.sleep(0.2)
        case "closes":
            os.kill(os.getppid(), 9)
        case "endless":
            say(header("running", asked, asked + (1 << 30), 1 << 20) + "y" * (1 << 20))
        case "far":
            say(header("running", 1 << 44, 1 << 44, 4) + "far\n")
        case "last":
            say(header("running", (1 << 64) - 1, (1 << 64) - 1, 4) + "far\n")
        case "short":
            say(header("running", asked, asked + 4, 1 << 40) + "cut\n")
        case "sized":
            say(header("running", asked, (1 << 64) - 1, 4) + "big\n")
        case "long":
            left = (40 << 20) - asked
            say(header("running" if left else "ended", asked, 40 << 20, min(1 << 20, left)))
            say(b"z" * min(1 << 20, left))
        case "steps":
            say("1.0 begin a-step\n" * 500_000)
        case "hints":
            say("1.0 begin " + "x" * (400 << 10) + "\n")
        case "skips":
            say("skipped " + "x" * (15 << 20))
        case "much":
            os.makedirs(f"{here}/root/home/dev/demo/out", exist_ok=True)
            for number in range(3000):
                with open(f"{here}/root/home/dev/demo/out/{number}", "wb") as file:
                    file.truncate(64 << 20)
            return True
        case "gate":
            say('{"works": false, "reason": "' + "x" * (15 << 20) + '"}')
        case _:
            return True
    return False


def rsync():
    """Runs rsync below the box's own directory. Its arguments come on standard input, a zero byte after each."""
    arguments = b""
    while not arguments.endswith(b"\0\0"):
        arguments += os.read(0, 1)
    first, _, base = arguments.removesuffix(b"\0\0").rpartition(b"\0")
    base = f"{here}/root".encode() + base
    os.makedirs(base, exist_ok=True)
    program = subprocess.Popen(words[words.index("rsync") :], stdin=subprocess.PIPE)

    def carry():
        data = first + b"\0" + base + b"\0\0"
        try:
            while data:
                say(data, to=program.stdin.fileno())
                data = os.read(0, 1 << 16)
            program.stdin.close()
        except BrokenPipeError:
            pass  # It has ended.

    threading.Thread(target=carry, daemon=True).start()
    sys.exit(program.wait())


def answer():
    match asks:
        case "take-over":
            sys.stdin.buffer.read()
        case "new-host-key":
            with open(f"{sys.argv[2]}/host_key.pub", encoding="utf-8") as key:
                say(key.read())
        case "wait-stage1":
            say('1.0 done\ncloud-init {"boot_id":"b","exit":0,"status":{"status":"done","errors":[]}}\n')
        case "start" | "start-as-root":
            sys.stdin.buffer.read()
            say("started\n")
        case "follow":
            say(header("ended", int(words[4]), int(words[4]) or 6, 0 if int(words[4]) else 6))
            say("" if int(words[4]) else "hello\n")
        case "settle":
            sys.stdin.buffer.read()
            say("0")
        case "look":
            say("\0".join(["/root", *words[4:], ""]))
        case "copy" | "bring":
            rsync()
        case "gate" | "tail":
            sys.exit(1)


asks = place()
with open(f"{here}/asked", "a", encoding="utf-8") as file:
    file.write(f"{asks}\n")
with open(f"{here}/connections", "a", encoding="utf-8") as file:
    file.write(os.environ["SSH_CONNECTION"] + "\n")
if asks != where:
    answer()
else:
    with open(f"{here}/done", "w", encoding="utf-8") as file:
        file.write(how)
    if be_hostile():
        answer()
