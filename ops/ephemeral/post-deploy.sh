#!/bin/bash
# Stage 2 on the box: builds the project's programs from the sources that were copied, installs them, renders their
# configuration, and starts their units. Run as root, by twolane in a unit of its own or by hand:
#
#   post-deploy.sh [--rotate-secret]
#
# What to build, render and start stands in deploy.env beside this script, written from [deploy] of twolane.toml.
# It can be run again at any time: only what changed is replaced, only units that use it are restarted. It stops at
# the first error; whatever ran before keeps running. /etc/mvm-deploy-status holds the name of the step while
# it works, `ready` at the end, or `failed: STEP`.
#
# Exit status: 0 done, 1 a step failed, 2 wrong usage, 75 another deploy is running.
set -euo pipefail
export LC_ALL=C
umask 022

LIB=${TWOLANE_LIB:-/usr/local/lib/twolane}
STATE=${TWOLANE_STATE:-/var/lib/twolane}/deploy
BIN=${TWOLANE_BIN:-/usr/local/bin}
SYSTEMD=${TWOLANE_SYSTEMD:-/etc/systemd/system}
STATUS=${TWOLANE_DEPLOY_STATUS:-/etc/mvm-deploy-status}

STEPS='accounts space build install configs units smoke start watch'
STEADY=5         # seconds that a unit has to run without a restart
WATCH_MAX=90     # seconds until all units have to run so
LOOP=3           # a unit that was restarted so often crash-loops
SPACE_MIN=262144 # KiB that have to be free

# Lists have one entry a line.
SOURCES='' BINARIES='' CONFIGS='' UNITS='' UNITS_IN='' SMOKE=''
CONFIG_DIR='' SERVICE_USER='' WORK_USER=dev WORK_HOME=/home/dev

say() { printf '%s\n' "$*"; }
die() { say "error: $*" >&2 && exit 1; }
lines() { [ -z "$1" ] || printf '%s\n' "$1"; }
# On a machine that was there before, what was there stays, and what is put there is recorded first.
claim() { [ ! -e "$LIB/host.sh" ] || bash "$LIB/host.sh" claim "$@"; }
am_root() { [ "$(id -u)" = 0 ]; }
set_status() { printf '%s\n' "$1" >"$STATUS.new" && mv "$STATUS.new" "$STATUS"; }

# Waits a moment without starting a process: it reads from a pipe that never speaks.
exec {quiet}<> <(:)
nap() { read -r -t 0.3 -u "$quiet" _ || true; }

# --- what the steps share

as_user() { # DIRECTORY COMMAND…: as the user who owns the sources, in a login shell's environment
    local where=$1 line='cd "$0" && PATH="$HOME/.cargo/bin:$PATH" && unset LC_ALL && exec "$@"'
    shift
    if [ "$(id -un)" = "$WORK_USER" ]; then
        bash -lc "$line" "$where" "$@" </dev/null {lock}>&-
    else
        runuser -u "$WORK_USER" -- env HOME="$WORK_HOME" USER="$WORK_USER" LOGNAME="$WORK_USER" \
            CARGO_TERM_COLOR=never bash -lc "$line" "$where" "$@" </dev/null {lock}>&-
    fi
}

find_file() { # PATH: the file in the first source that has it, else the one that twolane brought
    local source
    while read -r source; do
        [ ! -f "$source/$1" ] || { say "$source/$1" && return; }
    done < <(lines "$SOURCES")
    [ -f "$LIB/deploy/$1" ] || die "there is no $1, neither in a source nor among twolane's own files"
    say "$LIB/deploy/$1"
}

put() { # NEW FILE MODE [GROUP]: moves a new file into its place by rename, unless the same is there
    chmod "$3" "$1"
    ! am_root || chown "root:${4:-root}" "$1"
    if cmp -s "$1" "$2" && [ "$(stat -c '%a %U:%G' "$1")" = "$(stat -c '%a %U:%G' "$2")" ]; then
        rm -f "$1"
        return
    fi
    sync "$1"
    case $2 in
    "$SYSTEMD"/*) claim unit "${2##*/}" ;;
    *) claim file "$2" ;;
    esac
    mv -f "$1" "$2"
    say "wrote $2"
}

unit_name() { # as systemd has it
    case $1 in
    *.*) say "$1" ;;
    *) say "$1.service" ;;
    esac
}
unit_file() { # of a unit; that of an instance is its template's
    local name
    name=$(unit_name "$1")
    say "${name/@*./@.}"
}
all_units() { while read -r unit; do unit_name "$unit"; done < <(lines "$UNITS"); }
config_file() { # where a template's configuration lies
    local name=${1##*/}
    say "$CONFIG_DIR/${name%.j2}"
}

# --- the steps

step_accounts() {
    if ! getent passwd "$SERVICE_USER" >/dev/null; then
        claim user "$SERVICE_USER"
        useradd --system --user-group --no-create-home --home-dir / --shell /usr/sbin/nologin "$SERVICE_USER"
    fi
    if [ ! -d "$CONFIG_DIR" ]; then
        claim directory "$CONFIG_DIR"
        install -d -m 0750 "$CONFIG_DIR"
        ! am_root || chown "root:$SERVICE_USER" "$CONFIG_DIR"
    fi
    # Whoever runs the checks also sends the smoke's signed requests, and looks for secrets in the journal.
    local group groups
    groups=" $(id -nG "$WORK_USER") "
    for group in "$SERVICE_USER" systemd-journal; do
        if [[ $groups != *" $group "* ]] && getent group "$group" >/dev/null; then
            claim member "$WORK_USER" "$group"
            usermod --append --groups "$group" "$WORK_USER"
        fi
    done
}

step_space() { # a disk that runs full in the middle of a build fails late, and with a misleading error
    local path free
    for path in "$WORK_HOME" "$BIN" "$STATE"; do
        free=$(df --output=avail -k "$path" | tail -n 1)
        ((free >= SPACE_MIN)) ||
            die "$path has $((free / 1024)) MiB left, and a build needs $((SPACE_MIN / 1024)): make room, or take a bigger disk"
    done
}

packages_of() { # SOURCE: the names of its workspace's packages
    as_user "$1" cargo metadata --no-deps --format-version 1 --quiet | python3 -c '
import json, sys
for package in json.load(sys.stdin)["packages"]:
    print(package["name"])'
}

step_build() { # each program from the package and the source that it belongs to
    local source package bin name names all=''
    declare -A home=()
    while read -r source; do
        [ -f "$source/Cargo.toml" ] || continue
        names=$(packages_of "$source") || die "cargo cannot read the workspace in $source"
        for name in $names; do
            [ -n "${home[$name]:-}" ] || home[$name]=$source
            all+=" $name"
        done
    done < <(lines "$SOURCES")
    while read -r package bin; do
        source=${home[$package]:-}
        [ -n "$source" ] || die "no source has a package \`$package\`; there are:${all:- none}"
        say "building $bin of package $package in $source"
        as_user "$source" cargo build --release --package "$package" --bin "$bin" \
            --message-format json-render-diagnostics >"$work/$bin.json" ||
            die "could not build $bin of package $package; the programs that were installed before stay"
        python3 -c '
import json, sys
for line in open(sys.argv[1]):
    message = json.loads(line)
    if message.get("executable") and message["target"]["name"] == sys.argv[2]:
        print(message["executable"])' "$work/$bin.json" "$bin" | tail -n 1 >"$work/$bin.path"
        [ -s "$work/$bin.path" ] || die "cargo did not say where it put $bin"
    done < <(lines "$BINARIES")
}

step_install() { # by rename, so that nobody ever starts half a program
    local bin
    while read -r _ bin; do
        cp "$(cat "$work/$bin.path")" "$BIN/.$bin.new"
        put "$BIN/.$bin.new" "$BIN/$bin" 0755
    done < <(lines "$BINARIES")
}

make_secret() { # 256 bits that never leave this box
    (
        umask 077
        if [ -n "$rotate" ] || [ ! -s "$STATE/hmac-secret" ]; then
            head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$STATE/hmac-secret.new"
            mv "$STATE/hmac-secret.new" "$STATE/hmac-secret"
            echo 'made a new secret'
        fi
    )
}

render() { # TEMPLATE: `{{ name }}` is all that a template can say; values come in on standard input
    python3 -c '
import re, sys
path, shown = sys.argv[1], sys.argv[2]
values = dict(line.split("=", 1) for line in sys.stdin.read().splitlines())
mistakes = []
def value(found):
    name = found[1].strip()
    if name not in values:
        mistakes.append(f"there is no variable `{name}` (there are: " + ", ".join(sorted(values)) + ")")
    return values.get(name, "")
text = re.sub(r"\{\{(.*?)\}\}", value, open(path, encoding="utf-8").read())
for mark in ("{{", "}}", "{%", "{#"):
    if mark in text:
        mistakes.append(f"`{mark}` cannot be used here: a template knows `{{{{ name }}}}` alone")
if mistakes:
    sys.exit("error: " + shown + ": " + "; ".join(mistakes))
sys.stdout.write(text)' "$1" "${1#"$LIB/deploy/"}"
}

step_configs() {
    [ -n "$CONFIGS" ] || return 0
    make_secret
    local path template
    # All are rendered before the first is replaced.
    while read -r path; do
        template=$(find_file "$path")
        printf '%s\n' "hmac_secret=$(cat "$STATE/hmac-secret")" "hostname=$(uname -n)" |
            render "$template" >"$work/${path##*/}"
    done < <(lines "$CONFIGS")
    while read -r path; do
        (umask 077 && cp "$work/${path##*/}" "$(config_file "$path").new")
        put "$(config_file "$path").new" "$(config_file "$path")" 0640 "$SERVICE_USER"
    done < <(lines "$CONFIGS")
}

step_units() {
    local unit file path
    while read -r unit; do
        file=$(unit_file "$unit")
        path=$(find_file "$UNITS_IN/$file")
        cp "$path" "$SYSTEMD/.$file.new"
        put "$SYSTEMD/.$file.new" "$SYSTEMD/$file" 0644
    done < <(lines "$UNITS")
    # What an earlier deploy started and this one does not name ends.
    for path in "$STATE/started"/*; do
        unit=${path##*/}
        if [ ! -e "$path" ] || grep -qxF "$unit" < <(all_units); then continue; fi
        say "$unit is no longer wanted"
        systemctl disable --now "$unit"
        rm -f "$SYSTEMD/$(unit_file "$unit")" "$path"
    done
}

step_smoke() {
    [ -n "$SMOKE" ] || return 0
    local name=${SMOKE##*/} path
    path=$(find_file "$SMOKE")
    cp "$path" "$WORK_HOME/.$name.new"
    put "$WORK_HOME/.$name.new" "$WORK_HOME/$name" 0755
}

fingerprint() { # UNIT: changes with all that the unit is made of
    local file path bin
    file=$SYSTEMD/$(unit_file "$1")
    {
        cat "$file"
        while read -r _ bin; do
            ! grep -qF -- "$BIN/$bin" "$file" || sha256sum "$BIN/$bin"
        done < <(lines "$BINARIES")
        while read -r path; do
            path=$(config_file "$path")
            ! grep -qF -- "$path" "$file" || sha256sum "$path"
        done < <(lines "$CONFIGS")
    } | sha256sum | cut -d' ' -f1
}

step_start() {
    local unit all=() new=() failed=() states=() index
    mapfile -t all < <(all_units)
    ((${#all[@]} > 0)) || return 0
    ! systemctl show --property=NeedDaemonReload "${all[@]}" | grep "=yes" >/dev/null || systemctl daemon-reload
    mapfile -t states < <(systemctl is-active "${all[@]}" || true)
    for index in "${!all[@]}"; do
        unit=${all[index]}
        fingerprint "$unit" >"$work/$unit.fingerprint"
        if ! cmp -s "$work/$unit.fingerprint" "$STATE/started/$unit" || [ "${states[index]:-}" != active ]; then
            new+=("$unit")
        fi
    done
    systemctl is-enabled "${all[@]}" >/dev/null 2>&1 || systemctl enable --quiet "${all[@]}"
    ((${#new[@]} > 0)) || { say 'all units run what is installed' && return; }
    say "starting ${new[*]}"
    systemctl reset-failed "${new[@]}" 2>/dev/null || true
    if ! systemctl restart "${new[@]}"; then
        for unit in "${new[@]}"; do systemctl --quiet is-active "$unit" || failed+=("$unit"); done
        fail_units 'could not be started' "${failed[@]:-${new[0]}}"
    fi
    # Only afterwards: the units of a deploy that is cut before are started once more.
    for unit in "${new[@]}"; do mv "$work/$unit.fingerprint" "$STATE/started/$unit"; done
}

fail_units() { # WHAT UNIT…: what they wrote is what helps
    local what=$1 unit
    shift
    for unit in "$@"; do
        # It is started anew the next time, whatever has changed until then.
        rm -f "$STATE/started/$unit"
        say "--- the journal of $unit"
        journalctl --no-pager --output=short-iso --lines=25 --unit="$unit" || true
    done
    die "$* $what"
}

step_watch() { # active is not enough: a unit that crash-loops is active most of the time
    local all=() waiting=() until=$((SECONDS + WATCH_MAX)) index key value up
    declare -A before=() now=()
    mapfile -t all < <(all_units)
    ((${#all[@]} > 0)) || return 0
    while :; do
        index=0
        while IFS='=' read -r key value; do
            if [ -z "$key" ]; then ((++index)); else now[$index.$key]=$value; fi
        done < <(systemctl show --property=ActiveState,NRestarts,ActiveEnterTimestampMonotonic "${all[@]}")
        read -r up _ </proc/uptime
        waiting=()
        for index in "${!all[@]}"; do
            judge "$index" "${all[index]}" "${up%.*}"
        done
        ((${#waiting[@]} > 0)) || return 0
        ((SECONDS < until)) || fail_units "did not stay active for $STEADY s" "${waiting[@]}"
        nap
    done
}

judge() { # INDEX UNIT SECONDS; now, before and waiting are those of step_watch
    local state=${now[$1.ActiveState]} restarts=${now[$1.NRestarts]:-0} since=${now[$1.ActiveEnterTimestampMonotonic]:-0}
    : "${before[$1]:=$restarts}"
    restarts=$((restarts - before[$1]))
    [ "$state" != failed ] || fail_units 'failed' "$2"
    ((restarts < LOOP)) || fail_units "crash-loops: it was restarted $restarts times" "$2"
    if [ "$state" != active ] || (($3 - since / 1000000 < STEADY)); then waiting+=("$2"); fi
}

# --- all together

rotate=''
case $# in
0) ;;
1) [ "$1" = --rotate-secret ] && rotate=1 ;;
esac
if (($# > 1)) || { (($# == 1)) && [ -z "$rotate" ]; }; then
    echo 'usage: post-deploy.sh [--rotate-secret]' >&2
    exit 2
fi
[ -r "$LIB/deploy.env" ] || die "there is no $LIB/deploy.env: twolane deploy writes it"
# shellcheck source=/dev/null
. "$LIB/deploy.env"
[ -w "$SYSTEMD" ] || die 'only root can deploy: sudo bash post-deploy.sh'
claim file "$STATUS"
mkdir -p "$STATE/started"
chmod 0700 "$STATE"
exec {lock}>"$STATE/.lock"
if ! flock --nonblock "$lock"; then
    say "error: another deploy is running on this box, at step $(cat "$STATUS"): wait for its end" >&2
    exit 75
fi
work=$(mktemp -d "$STATE/work.XXXXXX")
ended=''
finish() {
    rm -rf "$work"
    [ -n "$ended" ] || { set_status "failed: $step" && say "failed: $step"; }
}
step=begin
trap finish EXIT
trap 'exit 143' TERM INT HUP
find "$STATE" -maxdepth 1 -name 'work.*' ! -path "$work" -exec rm -rf {} +

for step in $STEPS; do
    set_status "$step"
    say "== $step"
    "step_$step"
done
ended=1
set_status ready
say '== ready'
