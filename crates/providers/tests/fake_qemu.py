#!/usr/bin/env python3
"""Stands in for qemu-system-x86_64: takes its port, writes its pidfile, speaks its control protocol, and lives until told.

A file `fake.json` beside this one can say how it fails: {"dies": "message"}, {"deaf": true} or {"taken": N}.
"""

import json
import os
import re
import socket
import sys

here = os.path.dirname(os.path.abspath(__file__))
try:
    with open(os.path.join(here, "fake.json"), encoding="utf-8") as file:
        faults = json.load(file)
except FileNotFoundError:
    faults = {}

arguments = sys.argv[1:]
if arguments == ["--version"]:
    sys.exit(print("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)"))
value = lambda option: arguments[arguments.index(option) + 1]
for option in ("-smp", "-m", "-pidfile", "-qmp", "-netdev", "-accel"):
    value(option)  # Fails where one is missing.
for disk in ("overlay.qcow2", "seed.iso"):
    os.stat(disk)

if faults.get("dies"):
    sys.exit("qemu-system-x86_64: " + faults["dies"])
if faults.get("taken", 0) > 0:
    faults["taken"] -= 1
    with open(os.path.join(here, "fake.json"), "w", encoding="utf-8") as file:
        json.dump(faults, file)
    sys.exit("qemu-system-x86_64: -netdev user: Could not set up host forwarding rule 'tcp:127.0.0.1'")

port = int(re.search(r"hostfwd=tcp:127\.0\.0\.1:(\d+)-", value("-netdev")).group(1))
ssh = socket.create_server(("127.0.0.1", port))
with open("console.log", "a", encoding="utf-8") as file:
    file.write("the console of a fake\n")
with open(value("-pidfile"), "w", encoding="utf-8") as file:
    file.write(f"{os.getpid()}\n")

control = socket.socket(socket.AF_UNIX)
control.bind(value("-qmp").split(":")[1].split(",")[0])
control.listen()
greeting = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}}
answers = {"query-status": {"status": "running", "singlestep": False, "running": True}}
quits = 0
while True:
    peer = control.accept()[0].makefile("rw", encoding="utf-8")
    print(json.dumps(greeting), file=peer, flush=True)
    for line in peer:
        command = json.loads(line)
        if command["execute"] == "quit" and faults.get("deaf"):
            continue
        answer = {"return": answers.get(command["execute"], {})}
        if "id" in command:
            answer["id"] = command["id"]
        print(json.dumps(answer), file=peer, flush=True)
        if command["execute"] == "quit":
            os.remove(value("-pidfile"))
            sys.exit(0)
