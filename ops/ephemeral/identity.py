#!/usr/bin/env python3
"""Makes a clone of a template somebody: the unit in which a template waits, and every clone of it wakes.

The template is frozen while this process reads from the port; so whatever costs time, such as starting Python, was
done before. What comes over the port is one line of JSON; `adopted` goes back once the box is itself. systemd starts
the SSH server when this unit says that it is ready, and not before. Then stage 1 does what is left: the KVM gate.
"""

import fcntl
import glob
import json
import os
import socket
import struct
import subprocess
import time

ROOT = os.environ.get("TWOLANE_ROOT", "")
PORT = os.environ.get("TWOLANE_PORT", "/dev/virtio-ports/twolane.identity")
STATE = ROOT + "/var/lib/twolane"
# A test has no kernel of its own.
IS_OURS = not ROOT

# <linux/random.h>
RNDADDENTROPY = 0x40085203
RNDRESEEDCRNG = 0x5207


def write(path, text, mode=0o644):
    """Writes a file, whole or not at all."""
    path = ROOT + path
    new = path + ".new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text if isinstance(text, bytes) else text.encode())
    os.rename(new, path)


def replace(path, old, new):
    try:
        with open(ROOT + path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        return
    write(path, text.replace(old, new))


def reseed(entropy):
    """Gives the kernel random bytes of this clone alone, and has it use them from the next byte on."""
    with open("/dev/random", "wb") as device:
        fcntl.ioctl(device, RNDADDENTROPY, struct.pack("ii", len(entropy) * 8, len(entropy)) + entropy)
        fcntl.ioctl(device, RNDRESEEDCRNG)


def knows_vmgenid():
    """Returns whether the kernel learns from the machine itself that it was cloned."""
    return bool(glob.glob("/sys/bus/acpi/drivers/vmgenid/*:*") or glob.glob("/sys/bus/platform/drivers/vmgenid/*:*"))


def rename_journal(old, new):
    """The journal goes on under the new machine-id: its files are looked for under that name."""
    for journals in ("/var/log/journal/", "/run/log/journal/"):
        if old and os.path.isdir(ROOT + journals + old):
            os.rename(ROOT + journals + old, ROOT + journals + new)
            os.symlink(new, ROOT + journals + old)


def adopt(identity):
    """Makes the box somebody."""
    if IS_OURS:
        time.clock_settime(time.CLOCK_REALTIME, identity["time"])
        reseed(bytes.fromhex(identity["entropy"]))
        socket.sethostname(identity["hostname"])
    host, key = identity["hostname"], identity["host_key"]
    write("/etc/hostname", host + "\n")
    replace("/etc/hosts", identity["nobody"], host)
    with open(ROOT + "/etc/machine-id", encoding="utf-8") as file:
        old = file.read().strip()
    write("/etc/machine-id", identity["machine_id"] + "\n", 0o444)
    rename_journal(old, identity["machine_id"])
    write("/etc/ssh/ssh_host_ed25519_key", key["private"], 0o600)
    write("/etc/ssh/ssh_host_ed25519_key.pub", key["public"] + "\n")
    # Nobody else has seen it: it came over a port that only root reads, and needs no successor.
    write("/etc/twolane/host-key-is-own", key["public"] + "\n")
    os.makedirs(ROOT + "/root/.ssh", mode=0o700, exist_ok=True)
    write("/root/.ssh/authorized_keys", "".join(line + "\n" for line in identity["authorized_keys"]), 0o600)
    with open(ROOT + "/etc/twolane/stage1.env", "a", encoding="utf-8") as file:
        file.write(identity["env"])
    # After a restart it is itself: cloud-init would take it for the template again.
    write("/etc/cloud/cloud-init.disabled", "a clone knows who it is\n")
    with open("/proc/uptime", encoding="utf-8") as file:
        up = int(float(file.read().split()[0]))
    write("/etc/twolane/deadline", f"{identity['deadline']} {up + identity['ttl']}\n")
    write("/var/lib/systemd/random-seed", os.urandom(512), 0o600)


def say_ready():
    """Reports to systemd that this unit has started: what waits for it may."""
    address = os.environ.pop("NOTIFY_SOCKET", None)
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.sendto(b"READY=1", "\0" + address[1:] if address[0] == "@" else address)


def wait_for_ssh():
    """Waits until the SSH server listens: who connects before costs it more than this look does."""
    until = time.monotonic() + 30
    while IS_OURS and time.monotonic() < until:
        with open("/proc/net/tcp", encoding="ascii") as connections:
            if any(":0016 00000000:0000 0A" in line for line in connections):
                return
        time.sleep(0.02)


def forget():
    """Deletes what would make the template somebody, and lets the SSH server start when it is."""
    for path in glob.glob(ROOT + "/etc/ssh/ssh_host_*"):
        os.remove(path)
    if IS_OURS:
        os.remove("/run/twolane/template")
        subprocess.run(["systemctl", "start", "--no-block", "ssh.service"], check=True)


def receive(port):
    """Waits for the line that says who this is. A port that nobody has opened on the other side is at its end."""
    line = b""
    while not line.endswith(b"\n"):
        piece = port.read(65536)
        if not piece:
            time.sleep(0.01)
            continue
        line += piece
    return json.loads(line)


def main():
    while IS_OURS and not os.path.exists("/run/cloud-init/result.json"):
        time.sleep(0.1)
    forget()
    with open(PORT, "r+b", buffering=0) as port:
        port.write(b"waiting\n")
        identity = receive(port)
        adopt(identity)
        say_ready()
        wait_for_ssh()
        port.write(b"adopted\n")
    note = "ok" if knows_vmgenid() else "none"
    subprocess.run(["/bin/bash", ROOT + "/usr/local/lib/twolane/stage1.sh", "clone", note], check=False)


main()
