#!/bin/bash
# The box's end of twolane: put on the box over SSH, called as root. Each command is one short
# question or order with its answer on standard output, so that a cut connection loses nothing.
#
#   wait-stage1 LINES SECONDS           status lines after the first LINES; at the end one line
#                                       `cloud-init JSON`
#   start RUN CHECK SECONDS BYTES[+BYTES] DIR NEED…
#                                       starts the check whose command, of so many bytes, is on standard
#                                       input, before the commands that set its environment:
#                                       `started`, `already`, or `skipped REASON`
#   start-as-root …                     the same for what only root can do
#   follow RUN CHECK OFFSET SECONDS     one header line, then output from OFFSET on
#   stop RUN CHECK | list RUN
#   stop-others RUN [CHECK…]            stops what other runs have left running; where RUN's own checks are
#                                       named, stops and forgets RUN's others
#   link-toolchain KEY                  puts the operator's toolchain into the PATH
#   set-deadline UNIX                   moves the moment at which the box powers itself off
#   new-host-key                        makes a new SSH host key and prints its public half
#   use-host-key                        from now on the box shows the new one
#   journal UNIT LINES [CURSOR]         with a cursor: what came after it; the last line is `-- cursor: CURSOR`
#   boot-id
#
# What systemd calls: run-command, run-recorded, mark-stopped, record.
# Exit status: 0 done, 1 not done (the reason on standard error), 2 wrong usage.
set -euo pipefail
export LC_ALL=C

ETC=${TWOLANE_ETC:-/etc/twolane}
STATE=${TWOLANE_STATE:-/var/lib/twolane}
LIB=${TWOLANE_LIB:-/usr/local/lib/twolane}
BIN=${TWOLANE_BIN:-/usr/local/bin}
OPT=${TWOLANE_OPT:-/opt/twolane}
CLOUD=${TWOLANE_CLOUD:-/run/cloud-init}
KVM=${TWOLANE_KVM:-/dev/kvm}
SELF=$(readlink -f "$0")
PIECE=$((1 << 20)) # bytes of output in one answer
run_as=''
WORK_USER=dev LINKS='' HIDE_KVM=''
# shellcheck source=/dev/null
[ ! -e "$ETC/stage1.env" ] || . "$ETC/stage1.env"

die() { echo "twolane-box: $*" >&2 && exit 1; }
usage() { echo "twolane-box: $*" >&2 && exit 2; }

slug() { # VALUE…: names that become paths and units
    local value
    for value in "$@"; do
        [[ $value =~ ^[a-z0-9]([a-z0-9-]{0,98}[a-z0-9])?$ ]] || usage "not a name of [a-z0-9-]: $value"
    done
}
number() {
    local value
    for value in "$@"; do
        [[ $value =~ ^[0-9]{1,15}$ ]] || usage "not a number: $value"
    done
}
now() { printf '%s' "${EPOCHREALTIME:0:14}"; }
size_of() { stat -c %s "$1" 2>/dev/null || echo 0; }

# A process is dear on a slow box, and much here is retried and again: the shell reads small files itself.
first_line() { # FILE VARIABLE: empty where there is no such file
    printf -v "$2" ''
    [ ! -e "$1" ] || read -r "$2" <"$1" || true
}
boot_id() {
    local boot
    first_line /proc/sys/kernel/random/boot_id boot
    echo "$boot"
}

# Waits a fifth of a second without starting a process: it reads from a pipe that never speaks.
nap() { read -r -t "${1:-0.2}" -u "$quiet" _ || true; }
open_quiet() { exec {quiet}<> <(:); }

# --- stage 1

wait_stage1() { # LINES SECONDS
    number "$1" "$2"
    local lines=$1 until=$((SECONDS + $2)) status=$STATE/stage1.status ended=''
    local -a all=()
    open_quiet
    while :; do
        ended=''
        ! cloud_init_ended || ended=1
        [ ! -e "$status" ] || mapfile -t all <"$status"
        if ((${#all[@]} > lines)) || [ -n "$ended" ] || ((SECONDS >= until)); then break; fi
        nap
    done
    ((${#all[@]} <= lines)) || printf '%s\n' "${all[@]:lines}"
    [ -z "$ended" ] || cloud_init_answer
}

# Where something else than cloud-init begins stage 1: on a machine that was there before (host.sh), and in the clone of
# a template (identity.py).
without_cloud_init() { [ -e "$LIB/host.sh" ] || [ -e "$STATE/stage1.template" ]; }

cloud_init_ended() {
    if without_cloud_init; then
        [ -e "$STATE/stage1.ended" ]
        return
    fi
    [ -e "$CLOUD/result.json" ] || [ -e "$CLOUD/disabled" ] || ! command -v cloud-init >/dev/null
}

# Asking cloud-init costs seconds on a slow box, and is only needed when there is something to tell.
is_plainly_done() {
    grep -q '"errors": \[\]' "$CLOUD/result.json" && grep -q '"stage": null' "$CLOUD/status.json" &&
        ! grep -qE '"(recoverable_)?errors": [[{]$' "$CLOUD/status.json" "$CLOUD/result.json"
} 2>/dev/null

cloud_init_answer() { # one line, whichever version of cloud-init this is
    local json='' code=0 until=$((SECONDS + 30))
    if without_cloud_init || is_plainly_done; then json='{"status":"done","errors":[]}'; fi
    while [ -z "$json" ] && command -v cloud-init >/dev/null; do
        code=0
        json=$(timeout 30 cloud-init status --format json 2>/dev/null | tr -d '\n\r') || code=$?
        # The result file is written a moment before the last stage counts as ended.
        if [[ $json != *'"status": "running"'* ]] || ((SECONDS >= until)); then break; fi
        json=''
        nap 0.3
    done
    [ -n "$json" ] || json=null
    printf 'cloud-init {"boot_id":"%s","exit":%s,"status":%s}\n' "$(boot_id)" "$code" "$json"
}

# --- checks

use_check() { # RUN CHECK: sets $dir and $unit
    slug "$1" "$2"
    dir=$STATE/checks/$1/$2
    unit=twolane-$1-$2.service
}

as_user() { # COMMAND LINE: in a login shell of the user of the checks
    if [ "$(id -un)" = "$WORK_USER" ]; then bash -lc "$1"; else runuser -u "$WORK_USER" -- env HOME="$(home)" bash -lc "$1"; fi
}
home() { getent passwd "$WORK_USER" | cut -d: -f6 || true; }

lacks() { # PROGRAM: prints why it cannot be used and what to do, or nothing
    local program said in_path="PATH=\$HOME/.cargo/bin:\$PATH"
    program=$(printf %q "$1")
    if ! as_user "$in_path; command -v $program" >/dev/null; then
        case $1 in
        cargo-*) echo "$1 is not installed on the box: install it on your machine (cargo install --locked $1), or add it to cargo-tools in [system]" ;;
        *) echo "$1 is not installed on the box: add its package to packages in [system]" ;;
        esac
    elif [[ $1 == cargo-* ]] && ! said=$(as_user "$in_path; $program --version" 2>&1); then
        # One that came from another machine may want another C library.
        echo "$1 does not start on the box (${said##*$'\n'}): add it to cargo-tools in [system], which builds it there"
    fi
}

unmet() { # DIR NEED…: prints why the first unmet need is not met
    local where=$1 need why
    shift
    for need in "$@"; do
        case $need in
        program:*)
            why=$(lacks "${need#*:}")
            [ -z "$why" ] || { echo "$why" && return; }
            ;;
        file:*)
            [ -e "$where/${need#*:}" ] || { echo "there is no ${need#*:}" && return; }
            ;;
        advisory-db)
            [ -n "$(find "$(home)/.cargo/advisory-db" "$(home)/.cargo/advisory-dbs" -maxdepth 1 -print -quit 2>/dev/null)" ] ||
                timeout 15 python3 -c 'import urllib.request
urllib.request.urlopen("https://github.com/RustSec/advisory-db", timeout=10)' 2>/dev/null ||
                { echo 'the advisory database is not on the box and cannot be reached: allow https://github.com, or let `setup` of the lane put a clone into ~/.cargo/advisory-db' && return; }
            ;;
        *) usage "no such need: $need" ;;
        esac
    done
}

start() { # RUN CHECK SECONDS BYTES DIR NEED…
    (($# >= 5)) || usage 'start RUN CHECK SECONDS BYTES DIR NEED…'
    local dir unit where=$5 limit=$3 bytes=${4%%+*} more=0 why
    [[ $4 != *+* ]] || more=${4#*+}
    number "$limit" "$bytes" "$more"
    use_check "$1" "$2"
    mkdir -p "$STATE/checks/$1"
    exec {lock}>"$STATE/checks/$1/.lock"
    flock "$lock"
    if [ -e "$dir/begun" ]; then
        echo already
        return
    fi
    [ -d "$where" ] || die "there is no directory $where on the box: was the source copied?"
    why=$(unmet "$where" "${@:6}")
    if [ -n "$why" ]; then
        echo "skipped $why"
        return
    fi
    mkdir -p "$dir"
    # What sets the environment may be secret: who runs the check reads it, and it is gone when the check has ended.
    (umask 077 && cat >"$dir/environment")
    # A client that is killed closes its end early: what would run then is another command, or none, which always succeeds.
    (($(size_of "$dir/environment") == bytes + more)) ||
        { rm -f "$dir/environment" && die "the command of check $2 did not come whole"; }
    head -c "$bytes" "$dir/environment" >"$dir/command"
    (umask 077 && tail -c "+$((bytes + 1))" "$dir/environment" >"$dir/environment.new")
    mv "$dir/environment.new" "$dir/environment"
    [ "$run_as" = "$(id -un)" ] || chown "$run_as" "$dir/environment"
    if [ "$run_as" = root ] && [[ $where == "$(home)"/* ]]; then printf '%s\n' "$where" >"$dir/hand-back"; fi
    : >"$dir/output"
    boot_id >"$dir/boot_id"
    # Before the unit and not after: a check may be lost, but is never run twice.
    now >"$dir/begun"
    if ! launch "$1" "$2" "$limit" "$where" 2>"$dir/refused"; then
        rm -f "$dir/begun"
        die "could not start check $2: $(tail -n 3 "$dir/refused" | tr '\n' ' ')"
    fi
    echo started
}

launch() { # RUN CHECK SECONDS DIR; $dir, $unit and $run_as are set
    local how=(run-command "$dir/command")
    [ "$run_as" != root ] || how=(run-recorded "$1" "$2")
    local hidden=()
    if [ -n "$HIDE_KVM" ] && [ -e "$KVM" ]; then
        # A reboot brings the node back.
        if on_host; then hidden=(--property=InaccessiblePaths="-$KVM"); else bash "$LIB/stage1.sh" hide-kvm; fi
    fi
    systemd-run --quiet --collect --unit="$unit" --service-type=exec \
        --description="twolane check $2 of run $1" \
        --property=User="$run_as" \
        --property=WorkingDirectory="$4" "${hidden[@]}" \
        --property=RuntimeMaxSec="$3" \
        --property=TimeoutStopSec=10 \
        --property=KillMode=control-group \
        --property=StandardInput=null \
        --property=StandardOutput="append:$dir/output" \
        --property=StandardError="append:$dir/output" \
        --property=ExecStop="+$SELF mark-stopped $1 $2" \
        --property=ExecStopPost="+$SELF record $1 $2" \
        --setenv=CI=true --setenv=TERM=dumb \
        --setenv=TWOLANE_RUN="$1" --setenv=TWOLANE_CHECK="$2" \
        /bin/bash -l "$SELF" "${how[@]}" </dev/null {lock}>&-
}

# In the unit, as the user, after the login shell's own files: those set the PATH anew.
run_command() { # FILE
    unset LC_ALL
    PATH=$HOME/.cargo/bin:$PATH
    # Root builds with the toolchain of the user of the checks, who gets back what root leaves in the sources.
    if [ -e "${1%/*}/hand-back" ]; then
        PATH=$PATH:$(home)/.cargo/bin
        export CARGO_HOME RUSTUP_HOME
        CARGO_HOME=$(home)/.cargo RUSTUP_HOME=$(home)/.rustup
    fi
    # shellcheck source=/dev/null
    . "${1%/*}/environment"
    export PATH
    exec /bin/bash "$1"
}

# What root runs may have systemd read all its units again, which forgets what it was to call after this one.
run_recorded() { # RUN CHECK
    local dir unit code=0
    use_check "$1" "$2"
    (run_command "$dir/command") || code=$?
    SERVICE_RESULT=$([ "$code" = 0 ] && echo success || echo exit-code) EXIT_CODE=exited EXIT_STATUS=$code \
        record "$1" "$2"
    exit "$code"
}

# systemd calls this before it stops the unit. With a main process there still, somebody else
# stops it: an exit status of 0 after that does not mean that the check passed.
mark_stopped() {
    local dir unit
    use_check "$1" "$2"
    [ -z "${MAINPID:-}" ] || : >"$dir/stopped"
}

record() { # systemd calls this after the last process of the check is gone
    local dir unit begun where result=${SERVICE_RESULT:-unknown}
    use_check "$1" "$2"
    rm -f "$dir/environment"
    first_line "$dir/hand-back" where
    [ -z "$where" ] || find "$where" "$(home)/.cargo" -user root -exec chown -h "$WORK_USER:" {} + 2>/dev/null || true
    [ ! -e "$dir/stopped" ] || [ "$result" != success ] || result=stopped
    {
        echo "result=$result"
        echo "code=${EXIT_CODE:-none}"
        echo "status=${EXIT_STATUS:-none}"
        first_line "$dir/begun" begun
        echo "begun=$begun"
        echo "ended=$(now)"
    } >"$dir/result.new"
    sync "$dir/result.new" "$dir/output"
    mv "$dir/result.new" "$dir/result"
}

state_of() { # $dir and $unit are set: ended, running or lost
    if [ -e "$dir/result" ]; then
        echo ended
    elif systemctl --quiet is-active "$unit" || in_between; then
        echo running
    elif [ -e "$dir/result" ]; then # it ended while we looked
        echo ended
    else
        echo lost
    fi
}

in_between() { # starting, or stopping
    case $(systemctl show --property=ActiveState --value "$unit") in
    activating | deactivating | reloading) ;;
    *) return 1 ;;
    esac
}

header() { # STATE OFFSET BYTES SIZE; $dir is set
    local begun boot boot_now key value
    local -A end=()
    first_line "$dir/begun" begun
    first_line "$dir/boot_id" boot
    first_line /proc/sys/kernel/random/boot_id boot_now
    [ ! -e "$dir/result" ] || while IFS='=' read -r key value; do end[$key]=$value; done <"$dir/result"
    printf 'state=%s offset=%s bytes=%s size=%s result=%s code=%s status=%s begun=%s ended=%s boot=%s boot_now=%s\n' \
        "$1" "$2" "$3" "$4" "${end[result]:-}" "${end[code]:-}" "${end[status]:-}" \
        "$begun" "${end[ended]:-}" "$boot" "$boot_now"
}

follow() { # RUN CHECK OFFSET SECONDS
    local dir unit size state output offset=$3 until=$((SECONDS + $4)) bytes beats=0
    number "$3" "$4"
    use_check "$1" "$2"
    [ -e "$dir/begun" ] || die "check $2 of run $1 was never started"
    open_quiet
    exec {output}<"$dir/output"
    # Moves what is read from here on; one process, and none for each look at what has come since.
    ((offset == 0)) || dd iflag=skip_bytes skip="$offset" count=0 status=none <&"$output"
    while :; do
        state=running
        # Asking systemd is dear; a unit that vanished without a result can wait for the tenth beat.
        if [ -e "$dir/result" ] || ((beats++ % 10 == 0)); then state=$(state_of); fi
        if read -r -N 1 -u "$output" _ || [ "$state" != running ] || ((SECONDS >= until)); then break; fi
        nap
    done
    size=$(size_of "$dir/output")
    bytes=$((size > offset ? size - offset : 0))
    ((bytes <= PIECE)) || bytes=$PIECE
    # What has not been reported in full has not ended for who listens.
    ((offset + bytes >= size)) || [ "$state" != ended ] || state=running
    header "$state" "$offset" "$bytes" "$size"
    ((bytes == 0)) || tail -c "+$((offset + 1))" "$dir/output" | head -c "$bytes" || true
}

stop() { # RUN CHECK
    local dir unit
    use_check "$1" "$2"
    [ -e "$dir/begun" ] || die "check $2 of run $1 was never started"
    systemctl stop "$unit" 2>/dev/null || true
    echo "stopped $(state_of)"
}

stop_others() { # RUN [CHECK…]
    local path check run units=() forgotten=()
    slug "$@"
    for path in "$STATE"/checks/*/*/begun; do
        path=${path%/begun}
        [ -d "$path" ] || continue
        check=${path##*/} run=${path%/*}
        run=${run##*/}
        if [ "$run" = "$1" ]; then
            if (($# == 1)) || [[ " ${*:2} " == *" $check "* ]]; then continue; fi
            forgotten+=("$path")
        fi
        if [ "$run" = "$1-stage2" ] || [ -e "$path/result" ]; then continue; fi
        units+=("twolane-$run-$check.service")
    done
    ((${#units[@]} == 0)) || systemctl stop "${units[@]}" 2>/dev/null || true
    ((${#forgotten[@]} == 0)) || rm -rf -- "${forgotten[@]}"
}

list() { # RUN: a line `CHECK HEADER` for each that was started
    local dir unit path size
    slug "$1"
    for path in "$STATE/checks/$1"/*/begun; do
        [ -e "$path" ] || continue
        use_check "$1" "$(basename "$(dirname "$path")")"
        size=$(size_of "$dir/output")
        printf '%s ' "$(basename "$dir")"
        header "$(state_of)" "$size" 0 "$size"
    done
}

# --- the rest

link_toolchain() { # KEY
    [[ $1 =~ ^[A-Za-z0-9._-]{1,100}$ && $1 != .* ]] || usage "not a toolchain's key: $1"
    [ -x "$OPT/toolchain/$1/bin/cargo" ] || die "there is no $OPT/toolchain/$1/bin/cargo"
    ln -sfn "$OPT/toolchain/$1/bin/"* "${LINKS:-$BIN}/"
    "${LINKS:-$BIN}/cargo" --version
}

set_deadline() { # UNIX
    number "$1"
    local up left=$(($1 - EPOCHSECONDS))
    read -r up _ </proc/uptime
    ((left > 0)) || die "the deadline $1 has passed on the box, whose clock says $EPOCHSECONDS"
    printf '%s %s\n' "$1" "$((${up%.*} + left))" >"$ETC/deadline.new"
    mv "$ETC/deadline.new" "$ETC/deadline"
    # The first hour's own timer, set before anything else ran, knows only the old deadline.
    systemctl stop twolane-ttl.timer 2>/dev/null || true
    systemctl --quiet is-active twolane-deadline.service ||
        die 'the deadline is recorded, but twolane-deadline.service does not run: the box will not power itself off'
    cat "$ETC/deadline"
}

# The host key of the user-data can be read by everybody on the box. A new one is made first, and used
# only once the other side knows it, so that a crash in between locks nobody out.
host_key=/etc/ssh/ssh_host_ed25519_key

new_host_key() { # prints the public half of the box's own key; the same one at each call
    local key=$host_key
    if [ -s "$ETC/host-key-is-own" ]; then # it is none of ours to renew
        cat "$ETC/host-key-is-own"
        return
    fi
    if [ ! -e "$ETC/host-key-is-own" ]; then
        key=$host_key.new
        [ -e "$key.pub" ] || {
            rm -f "$key"
            ssh-keygen -q -t ed25519 -N '' -C '' -f "$key"
        }
    fi
    cut -d' ' -f1,2 "$key.pub"
}

use_host_key() {
    local service=ssh
    [ ! -e "$ETC/host-key-is-own" ] || return 0
    [ -e "$host_key.new.pub" ] || die 'there is no new host key yet'
    [ ! -e "$host_key.new" ] || mv "$host_key.new" "$host_key"
    cp "$host_key.new.pub" "$host_key.pub"
    systemctl cat sshd.service >/dev/null 2>&1 && service=sshd
    systemctl reload "$service" || systemctl try-restart "$service"
    : >"$ETC/host-key-is-own"
    rm -f "$host_key.new.pub"
}

# A check's unit is forgotten when it has ended, and its journal stays.
known_unit() { # UNIT
    local unit=$1
    [[ $unit == *.* ]] || unit+=.service
    [ "$(systemctl show --property=LoadState --value "$unit")" != not-found ] ||
        [ -n "$(journalctl --no-pager --quiet --lines=1 --unit="$unit")" ]
}

service_units() {
    systemctl list-units --type=service --all --plain --no-legend | awk '{ print $1 }' | sort | paste -sd ' '
}

journal() { # UNIT LINES [CURSOR]
    number "$2"
    [[ $1 =~ ^[A-Za-z0-9@._:-]+$ && $1 != -* ]] || usage "not a unit: $1"
    known_unit "$1" || usage "no such unit; there are: $(service_units)"
    local from=(--lines="$2")
    [ -z "${3:-}" ] || from=(--after-cursor="$3")
    journalctl --no-pager --quiet --output=short-iso --show-cursor "${from[@]}" --unit="$1"
}

command=${1:-}
(($# == 0)) || shift
need() { (($# - 1 >= $1)) || usage "too few arguments"; }
case $command in
wait-stage1) need 2 "$@" && wait_stage1 "$@" ;;
start) need 5 "$@" && run_as=$WORK_USER && start "$@" ;;
start-as-root) need 5 "$@" && run_as=root && start "$@" ;;
follow) need 4 "$@" && follow "$@" ;;
stop) need 2 "$@" && stop "$@" ;;
stop-others) need 1 "$@" && stop_others "$@" ;;
list) need 1 "$@" && list "$@" ;;
link-toolchain) need 1 "$@" && link_toolchain "$@" ;;
set-deadline) need 1 "$@" && set_deadline "$@" ;;
new-host-key) new_host_key ;;
use-host-key) use_host_key ;;
journal) need 2 "$@" && journal "$@" ;;
boot-id) boot_id ;;
run-command) need 1 "$@" && run_command "$@" ;;
run-recorded) need 2 "$@" && run_recorded "$@" ;;
mark-stopped) need 2 "$@" && mark_stopped "$@" ;;
record) need 2 "$@" && record "$@" ;;
*) usage "no such command: $command" ;;
esac
