# Runs rsync's receiving side (the arguments from the third on) in the directory BASE, so that what it writes has the
# box's present time. Build tools compare times: a file that changed must be younger than what was built from its old
# content, whenever it was written where it comes from. rsync compares times too, with those of the sender: what was
# given another time has the sender's while rsync runs. STATE keeps both. The list of files is on descriptor 3.
import json
import os
import stat
import subprocess
import sys

base, state = sys.argv[1:3]
begun = state + ".begun"


def look(path):
    try:
        return os.lstat(os.path.join(os.fsencode(base), path))
    except OSError:
        return None


def set_time(path, time=None):
    to = {} if time is None else {"ns": (time, time)}
    os.utime(os.path.join(os.fsencode(base), path), follow_symlinks=False, **to)


def read_state():
    try:
        with open(state) as file:
            return {os.fsencode(path): times for path, times in json.load(file).items()}
    except (OSError, ValueError, AttributeError):
        return {}


os.makedirs(os.path.dirname(state), exist_ok=True)
is_first = not os.path.isdir(base) or not os.listdir(base)
# Left over from a copy that broke off: what came since then has no time of the box yet.
if not os.path.exists(begun):
    open(begun, "w").close()
since = os.lstat(begun).st_ctime_ns

known = {}
for path, (theirs, ours) in read_state().items():
    found = look(path)
    # Another time: the box has changed it since.
    if found and found.st_mtime_ns in (theirs, ours):
        set_time(path, theirs)
        known[path] = (theirs, ours, found.st_ino)

code = subprocess.call(sys.argv[3:])

kept = {}
for path, (theirs, ours, inode) in known.items():
    found = look(path)
    if found and (found.st_ino, found.st_mtime_ns) == (inode, theirs):
        set_time(path, ours)
        kept[path] = (theirs, ours)

# rsync puts a new file in the place of the old one, so that its directory changes too.
directories = {}


def has_changed(directory):
    if directory not in directories:
        found = look(directory)
        directories[directory] = bool(found) and found.st_ctime_ns >= since
    return directories[directory]


with open(3, "rb") as listed:
    paths = listed.read().split(b"\0")
for path in paths:
    if is_first or not path or path in kept or not has_changed(os.path.dirname(path)):
        continue
    found = look(path)
    if found and found.st_ctime_ns >= since and stat.S_ISREG(found.st_mode):
        set_time(path)
        kept[path] = (found.st_mtime_ns, look(path).st_mtime_ns)

with open(state + ".new", "w") as file:
    json.dump({os.fsdecode(path): times for path, times in kept.items()}, file)
os.replace(state + ".new", state)
if code == 0:
    os.remove(begun)
sys.exit(code if code >= 0 else 128 - code)
