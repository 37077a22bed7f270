#!/usr/bin/env python3
"""Stands in for qemu-system-x86_64: takes its port, writes its pidfile, speaks its control protocol, and runs until it gets `quit`.

With memory in a file it is a template that says it waits, or a clone that reads who it is into `identity.json`.
Nobody is let in, unless `fake.json` says {"sshd": "CONFIG"}: then OpenSSH serves by that, with the genuine host key.
A file `fake.json` beside this one can say how it fails: {"dies": "message"}, {"deaf": true}, {"taken": N},
{"version": "9.9"}, {"template": ["line", …]}: what a template says, {"clone": "deaf"}: it reads and never answers, or
{"clone": "broken"}: it cannot read the state, {"floods": true}: its console is long.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading

here = os.path.dirname(os.path.abspath(__file__))
try:
    with open(os.path.join(here, "fake.json"), encoding="utf-8") as file:
        faults = json.load(file)
except FileNotFoundError:
    faults = {}

arguments = sys.argv[1:]
if arguments == ["--version"]:
    sys.exit(print(f"QEMU emulator version {faults.get('version', '7.2.22')} (Debian 1:7.2+dfsg-7+deb12u18)"))
value = lambda option: arguments[arguments.index(option) + 1]
for option in ("-smp", "-m", "-pidfile", "-qmp", "-netdev", "-accel"):
    value(option)  # Fails where one is missing.
for disk in re.findall(r"file=([^,]+),if=virtio", " ".join(arguments)):
    os.stat(disk)

version = tuple(int(part) for part in faults.get("version", "7.2.22").split(".")[:2])
if faults.get("dies"):
    sys.exit("qemu-system-x86_64: " + faults["dies"])
forward = re.search(r"hostfwd=tcp:127\.0\.0\.1:(\d+)-", value("-netdev"))
if faults.get("taken", 0) > 0 and forward:
    faults["taken"] -= 1
    with open(os.path.join(here, "fake.json"), "w", encoding="utf-8") as file:
        json.dump(faults, file)
    sys.exit("qemu-system-x86_64: -netdev user: Could not set up host forwarding rule 'tcp:127.0.0.1'")


def listen(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    return server


def speak_as_template(port):
    peer = port.accept()[0].makefile("rw", encoding="utf-8")
    for line in faults.get("template", ["1.0 begin packages", "2.0 end packages ok", "waiting"]):
        print(line, file=peer, flush=True)
    peer.read()


def speak_as_clone(port):
    peer = port.accept()[0].makefile("rw", encoding="utf-8")
    runs.wait()
    identity = peer.readline()
    if faults.get("clone") != "deaf":
        with open("identity.json", "w", encoding="utf-8") as file:
            file.write(identity)
        print("adopted", file=peer, flush=True)
    peer.read()


served = []


def serve(server, config):
    """Has sshd answer each connection, as the box whose directory this is."""
    keys = os.path.abspath("../ssh")
    own = [f"HostKey={keys}/host_key", f"AuthorizedKeysFile={keys}/login_key.pub"]
    options = [word for option in own for word in ("-o", option)]
    while True:
        peer = server.accept()[0]
        with open("sshd.log", "ab") as log:
            sshd = ["/usr/sbin/sshd", "-i", "-e", "-f", config, *options]
            served.append(subprocess.Popen(sshd, stdin=peer, stdout=peer, stderr=log))
        peer.close()


runs = threading.Event()
is_clone = "-incoming" in arguments
if memory := re.search(r"mem-path=([^,]+)", " ".join(arguments)):
    open(memory.group(1), "rb" if is_clone else "wb").close()
    port = listen("identity.sock")
    speak = speak_as_clone if is_clone else speak_as_template
    threading.Thread(target=speak, args=(port,), daemon=True).start()

# QEMU is given nothing of the operator's environment, and may start no program unless it has to.
if set(os.environ) - {"LC_CTYPE", "PWD", "_", "SHLVL", "OLDPWD"}:
    sys.exit(f"an environment: {sorted(os.environ)}")
if ("spawn=deny" in value("-sandbox")) != (version >= (8, 2)):
    sys.exit("the wrong sandbox")

ssh = socket.create_server(("127.0.0.1", int(forward.group(1)))) if forward else None
if ssh and "sshd" in faults:
    threading.Thread(target=serve, args=(ssh, faults["sshd"]), daemon=True).start()
with open("console.log", "a", encoding="utf-8") as file:
    file.write("the console of a fake\n")
    if faults.get("floods"):
        file.write("x" * (70 << 20) + "\nthe end of the flood\n")
with open(value("-pidfile"), "w", encoding="utf-8") as file:
    file.write(f"{os.getpid()}\n")

control = listen(value("-qmp").split(":")[1].split(",")[0])
greeting = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}
answers = {"query-status": {"status": "running", "singlestep": False, "running": True}}
moved = None


def move(uri):
    """Writes or reads the state as the address says: by a shell before QEMU 8.2."""
    kind, path = re.fullmatch(r"file:()(.*)" if version >= (8, 2) else r"exec:cat (>?)(.*)", uri).groups()
    if command["execute"] == "migrate":
        with open(path, "w", encoding="utf-8") as file:
            file.write("a state")
        return "completed"
    with open(path, encoding="utf-8") as file:
        return "completed" if file.read() == "a state" and faults.get("clone") != "broken" else "failed"


while True:
    peer = control.accept()[0].makefile("rw", encoding="utf-8")
    print(json.dumps(greeting), file=peer, flush=True)
    for line in peer:
        command = json.loads(line)
        name = command["execute"]
        if name == "quit" and faults.get("deaf"):
            continue
        if name in ("migrate", "migrate-incoming"):
            moved = move(command["arguments"]["uri"])
        if name == "cont":
            runs.set()
        answer = {"return": {"status": moved} if name == "query-migrate" else answers.get(name, {})}
        if "id" in command:
            answer["id"] = command["id"]
        try:
            print(json.dumps(answer), file=peer, flush=True)
        except BrokenPipeError:
            break
        if name == "quit":
            for sshd in served:
                sshd.kill()
            os.remove(value("-pidfile"))
            os._exit(0)
