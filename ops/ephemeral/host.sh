#!/bin/bash
# A machine that is already there, lent for a while: takes its lock, puts there what a box needs, and takes all of
# that away again. Everything is recorded before it is put, and taken away in the opposite order; what was
# there before is left as it is. Run as root, over SSH or by the machine's own timer.
#
#   host.sh up DIR             takes the lock and begins stage 1; DIR holds the order and its files
#   host.sh put DIR            what `up` does with the lock taken
#   host.sh down LABEL RUN     takes everything away, if it is of that label and run; `-` stands for any
#   host.sh status             says who has the lock
#   host.sh doctor DIR ADDRESS
#   host.sh retag LABEL UNIX   writes another deadline into the lock
#   host.sh claim KIND WHAT…   records what stage 1 or 2 is about to put; refuses what somebody else has there
#   host.sh watch              takes everything away at the deadline; never returns
#   host.sh expire             does it now, if the deadline has passed
#
# An answer is a line `WORD TEXT` for each thing, and at its end `ok`, or `fail KIND|CAUSE|MEND`.
# Exit status: 0 done, 1 not done, 2 wrong usage.
set -euo pipefail
export LC_ALL=C
umask 022
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

R=${TWOLANE_ROOT:-}
STATE=$R/var/lib/twolane
ETC=$R/etc/twolane
LIB=$R/usr/local/lib/twolane
OPT=$R/opt/twolane
SYSTEMD=$R/etc/systemd/system
HOMES=$R/home
RUN=$R/run
KVM=${TWOLANE_KVM:-/dev/kvm}
RECORD=$STATE/host/record
SPACE_MIN=262144 # KiB that have to be free

say() { printf '%s\n' "$*"; }
plain() { tr '\n|' ' /' <<<"$*" | sed 's/ *$//'; }
fail() { # KIND CAUSE MEND
    say "fail $1|$(plain "$2")|$(plain "${3:-}")"
    exit 1
}
usage() { echo "host.sh: $*" >&2 && exit 2; }
has() { command -v "$1" >/dev/null; }

# --- the lock

# One at a time; whoever comes meanwhile waits, so that a `down` never meets an `up` that goes on without its client.
one_at_a_time() {
    exec {turn}>"$RUN/twolane-host.lock"
    flock --timeout "${TWOLANE_PATIENCE:-120}" "$turn" ||
        fail unavailable 'another twolane is at work on it and does not end' 'try again in a minute'
}

# What a killed call left beside the lock. A turn is held, so that nobody else is making or deleting these.
sweep() { rm -rf "$R"/var/lib/.twolane-new-* "$R"/var/lib/.twolane-gone-*; }

is_locked() { [ -e "$STATE/host/tags" ]; }
tag() { sed -n "s/^$1=//p" "$STATE/host/tags"; }
is_over() { ((EPOCHSECONDS >= $(tag mvm-deadline))); }

holder() { # who has it, and until when
    local key who='' of=''
    for key in mvm-user mvm-host mvm-repository mvm-ref; do
        of=$(tag "$key")
        [ -z "$of" ] || who+=", ${key#mvm-} $of"
    done
    say "box $(tag mvm-label) of run $(tag mvm-run) (${who#, }), until $(date -u -d "@$(tag mvm-deadline)" +%Y-%m-%dT%H:%M:%SZ)"
}

refuse_busy() {
    local kind=busy
    [ "$(tag mvm-label)" != "$(sed -n 's/^mvm-label=//p' <<<"$TAGS")" ] || kind=taken
    fail "$kind" "it is taken by $(holder)" "wait, name another machine, or ask them to give it back: twolane down $(tag mvm-label)"
}

# It appears with all that it says, or not at all: a directory is moved into its place, which fails where one is.
take() {
    local new
    if ! { new=$(mktemp -d "$R/var/lib/.twolane-new-XXXXXX") && mkdir "$new/host" && printf '%s\n' "$TAGS" >"$new/host/tags" &&
        : >"$new/host/record" && chmod 0755 "$new" && sync "$new/host/tags" "$new/host"; }; then
        fail invalid "its lock cannot be written to $R/var/lib" "make room there: df -h $R/var/lib"
    fi
    mv -T "$new" "$STATE" 2>/dev/null || fail busy 'somebody else took it in this moment' 'try again'
    sync "$R/var/lib"
}

retag() { # LABEL UNIX
    [[ $2 =~ ^[0-9]{1,15}$ ]] || usage "not a moment: $2"
    one_at_a_time
    if ! is_locked || [ "$(tag mvm-label)" != "$1" ]; then fail not-found "it holds no box $1" 'twolane ls shows those that are there'; fi
    put_tags "$(sed "s/^mvm-deadline=.*/mvm-deadline=$2/" "$STATE/host/tags")" "$2"
    say ok
}

put_tags() { # TAGS UNIX
    local up
    read -r up _ </proc/uptime
    printf '%s\n' "$1" >"$STATE/host/tags.new"
    sync "$STATE/host/tags.new"
    mv "$STATE/host/tags.new" "$STATE/host/tags"
    [ -d "$ETC" ] || return 0
    printf '%s %s\n' "$2" "$((${up%.*} + $2 - EPOCHSECONDS))" >"$ETC/deadline.new"
    mv "$ETC/deadline.new" "$ETC/deadline"
}

# --- the record

note() { # KIND WHAT…: on the disk before the thing itself is there
    local IFS=$'\t'
    grep -qxF -- "$*" "$RECORD" && return
    printf '%s\n' "$*" >>"$RECORD"
    sync "$RECORD"
}
is_noted() {
    local IFS=$'\t'
    grep -qxF -- "$*" "$RECORD"
}

claim() { # KIND WHAT…
    local kind=$1 what
    shift
    is_locked || usage 'nobody has the lock'
    case $kind in
    file | unit)
        local path=$1
        if [ "$kind" = unit ]; then
            path=$SYSTEMD/$1
            for what in "$R/lib/systemd/system/$1" "$R/usr/lib/systemd/system/$1"; do
                [ -e "$path" ] || [ ! -e "$what" ] || path=$what
            done
        fi
        # What is in the home of the checks goes with it.
        [[ $path != "$HOMES"/* ]] || return 0
        if [ -e "$path" ] || [ -L "$path" ]; then
            is_noted "$kind" "$1" || { echo "$path exists already and is not twolane's: it stays as it is" >&2 && exit 1; }
        fi
        note "$kind" "$1"
        ;;
    directory) # the highest one that is not there yet goes with it
        what=$1
        [ ! -e "$what" ] || return 0
        while [ ! -e "$(dirname "$what")" ]; do what=$(dirname "$what"); done
        note directory "$what"
        ;;
    mode)
        [ ! -e "$1" ] || note_mode "$1"
        ;;
    user) getent passwd "$1" >/dev/null || note user "$1" ;;
    group) getent group "$1" >/dev/null || note group "$1" ;;
    member) [[ " $(id -nG "$1") " == *" $2 "* ]] || note member "$1" "$2" ;;
    module) [ -d "$R/sys/module/$1" ] || note module "$1" ;;
    package) for what in "$@"; do note package "$what"; done ;;
    *) usage "no such kind: $kind" ;;
    esac
}

note_mode() { # only as it was at first
    local IFS=$'\t'
    grep -qF -- "mode"$'\t'"$1"$'\t' "$RECORD" || note mode "$1" "$(stat -c %a "$1")" "$(stat -c %u:%g "$1")"
}

# --- what it takes

sshd_says() { # KEY: of a login as root from where we come
    [ -n "${sshd_all:-}" ] || sshd_all=$(sshd -T -C "user=root,host=localhost,addr=${CLIENT%% *}" 2>/dev/null || sshd -T 2>/dev/null || true)
    sed -n "s/^$1 //p" <<<"$sshd_all"
}

check_system() {
    [ "$(uname -s)" = Linux ] || fail invalid "it runs $(uname -s), and a box needs Linux" 'name another machine'
    [ -d "$RUN/systemd/system" ] || fail invalid 'it does not run systemd, which starts and bounds each check' 'name another machine'
    local tool missing=''
    for tool in python3 flock sshd systemd-run useradd runuser; do has "$tool" || missing+=" $tool"; done
    [ -z "$missing" ] || fail invalid "it lacks$missing" 'install that there'
}

check_login() { # twolane goes in as root with a key of the box's own
    local all
    all=$(why_no_root)
    [ -z "$all" ] || fail invalid "${all%%|*}" "${all#*|}"
}

why_no_root() { # CAUSE|MEND, or nothing
    local permit
    permit=$(sshd_says permitrootlogin)
    case $permit in
    no | forced-commands-only)
        say "its SSH server lets nobody in as root (PermitRootLogin $permit)|set PermitRootLogin prohibit-password there, for the address that you come from at least"
        ;;
    *)
        if [ "$(sshd_says pubkeyauthentication)" = no ]; then
            say "its SSH server takes no keys (PubkeyAuthentication no)|set PubkeyAuthentication yes there"
        elif [ -n "$(sshd_says allowusers)" ] && ! grep -qx 'root\(@.*\)\?\|\*' < <(sshd_says allowusers); then
            say "its SSH server does not let root in (AllowUsers)|add root to AllowUsers there"
        elif [ -z "$(keys_file)" ]; then
            say "its SSH server reads no authorized keys of root (AuthorizedKeysFile)|set AuthorizedKeysFile .ssh/authorized_keys there"
        fi
        ;;
    esac
}

keys_file() { # where root's keys are
    local file home
    home=$(getent passwd root | cut -d: -f6)
    read -r file _ < <(sshd_says authorizedkeysfile) || file=.ssh/authorized_keys
    file=${file//%h/$home}
    file=${file//%u/root}
    case $file in
    none) ;;
    /*) say "$R$file" ;;
    *) say "$R$home/$file" ;;
    esac
}

host_key() { # the one that is shown to whoever takes ed25519 before the others
    local kind file
    for kind in ed25519 ecdsa rsa ''; do
        while read -r file; do
            if [[ $file != *"$kind"* ]] || [ ! -r "$file" ]; then continue; fi
            if [ -r "$file.pub" ]; then cut -d' ' -f1,2 "$file.pub"; else ssh-keygen -y -f "$file" | cut -d' ' -f1,2; fi
            return
        done < <(sshd_says hostkey)
    done
}

check_gate() { # DIR
    local answer why
    answer=$(python3 -I -S "$1/lib/kvm-gate.py" --device "$KVM" 2>/dev/null || true)
    why=$(python3 -c 'import json, sys
answer = json.load(sys.stdin)
print("" if answer["works"] else answer["sentence"])' <<<"$answer" 2>/dev/null) || why='the KVM gate gave no answer'
    say "$why"
}

check_space() {
    local path free
    for path in "$R/var/lib" "$HOMES"; do
        free=$(df --output=avail -k "$path" 2>/dev/null | tail -n 1) || continue
        ((free >= SPACE_MIN)) ||
            fail invalid "$path has $((free / 1024)) MiB left, and a box needs $((SPACE_MIN / 1024))" 'make room there'
    done
}

check_foreign() { # what lies where a box keeps its own
    local path
    for path in "$STATE" "$ETC" "$LIB" "$OPT" "$SYSTEMD/twolane-deadline.service"; do
        [ ! -e "$path" ] || fail invalid "$path exists already, and is no lock's: it may be a box of twolane itself" \
            "name another machine; or delete $path there, if nobody needs it"
    done
}

check_work_user() {
    local home uid
    home=$(getent passwd "$WORK_USER" | cut -d: -f6) || return 0
    [ -n "$home" ] || return 0
    [ "$R$home" = "$HOMES/$WORK_USER" ] ||
        fail invalid "its user $WORK_USER lives in $home, and checks run in $HOMES/$WORK_USER" 'name another machine'
    uid=$(id -u "$WORK_USER")
    [ -z "$(processes_of "$uid")" ] ||
        fail busy "its own user $WORK_USER is at work there" "wait until $WORK_USER has no processes, or name another machine"
}

processes_of() { # UID
    local dir
    for dir in /proc/[0-9]*; do
        [ "$(stat -c %u "$dir" 2>/dev/null)" != "$1" ] || say "${dir#/proc/}"
    done
}

# --- up

up() { # DIR
    local dir=$1
    # shellcheck source=/dev/null
    . "$dir/order" # TAGS KEYS GATE_REQUIRED WORK_USER CLIENT
    check_system
    one_at_a_time
    sweep
    if is_locked && is_over; then remove; fi
    if is_locked; then
        # The same run retries after a lost answer: what was begun is ended.
        [ "$(tag mvm-run) $(tag mvm-label)" = "$(sed -n 's/^mvm-run=//p' <<<"$TAGS") $(sed -n 's/^mvm-label=//p' <<<"$TAGS")" ] ||
            refuse_busy
        put_tags "$TAGS" "$(sed -n 's/^mvm-deadline=//p' <<<"$TAGS")"
    else
        check_foreign
        check_login
        check_work_user
        check_space
        if [ -n "$GATE_REQUIRED" ]; then
            local why
            why=$(check_gate "$dir")
            [ -z "$why" ] || fail no-kvm "$why" 'switch virtualisation on there, or name another machine'
        fi
        take
    fi
    # A process of its own, which ends with the first thing that fails. The disk may be full: its words go elsewhere.
    bash "$dir/host.sh" put "$dir" >"$RUN/twolane-host.log" 2>&1 || refuse_put "$(tail -n 3 "$RUN/twolane-host.log")"
    rm -f "$RUN/twolane-host.log"
    say "host-key $(host_key)"
    say "note $(describe)"
    say ok
}

describe() {
    local name
    name=$(sed -n 's/^PRETTY_NAME="\?\([^"]*\)"\?$/\1/p' "$R/etc/os-release" 2>/dev/null || true)
    say "${name:-Linux} on $(uname -m), $(nproc) CPUs; it is not ours: what was there stays"
}

refuse_put() { # WORDS
    local fix
    fix="what was put there so far goes with: twolane down $(tag mvm-label)"
    [[ $1 != *'No space left'* ]] || fail half "its disk is full: $1" "make room there; $fix"
    fail half "what a box needs could not be put there: $1" "$fix"
}

put() { # DIR
    local path
    # shellcheck source=/dev/null
    . "$1/order"
    for path in "$ETC" "$LIB" "$OPT"; do
        claim directory "$path"
        mkdir -p "$path"
    done
    install -m 0755 "$1/host.sh" "$1"/lib/* "$LIB/"
    # Before anything else that stays: from here on it goes by itself.
    put_deadline
    { cat "$1/stage1.env" && say "LINKS='$HOMES/$WORK_USER/.cargo/bin'" && more_packages "$1/stage1.env"; } >"$ETC/stage1.env.new"
    mv "$ETC/stage1.env.new" "$ETC/stage1.env"
    host_key >"$ETC/host-key-is-own"
    put_home
    put_keys
    begin_stage1
}

more_packages() { # STAGE1.ENV: the copy of the sources cannot do without
    has rsync || (
        PACKAGES=''
        # shellcheck source=/dev/null
        . "$1"
        say "PACKAGES='${PACKAGES:+$PACKAGES }rsync'"
    )
}

put_deadline() {
    local at
    at=$(tag mvm-deadline)
    put_tags "$(cat "$STATE/host/tags")" "$at"
    claim unit twolane-deadline.service
    cat >"$SYSTEMD/twolane-deadline.service" <<UNIT
[Unit]
Description=Takes away what twolane put on this machine at the deadline in $ETC/deadline
[Service]
ExecStart=/bin/bash $LIB/host.sh watch
Restart=always
[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload
    systemctl enable --now --no-block twolane-deadline.service
}

# Checks have a home to themselves. One that is there is hidden under another for the time, and nothing in it changes.
put_home() {
    local home=$HOMES/$WORK_USER at=$HOMES/$WORK_USER
    if [ -e "$home" ] && ! is_noted directory "$home"; then
        hide_home "$home"
        at=$STATE/home
    else
        note directory "$home"
    fi
    if ! getent passwd "$WORK_USER" >/dev/null; then
        claim user "$WORK_USER"
        useradd --user-group --no-create-home --home-dir "/home/$WORK_USER" --shell /bin/bash "$WORK_USER"
    fi
    install -d -m 0755 "$at" "$at/.cargo" "$at/.cargo/bin"
    [ -e "$at/.profile" ] || [ ! -d "$R/etc/skel" ] || cp -r "$R/etc/skel/." "$at/"
    chown -R "$WORK_USER:" "$at"
}

hide_home() { # DIRECTORY
    local unit="home-${WORK_USER//-/\\x2d}.mount"
    claim unit "$unit"
    mkdir -p "$STATE/home"
    cat >"$SYSTEMD/$unit" <<UNIT
[Unit]
Description=The home of twolane's checks, over the one that was there
[Mount]
What=$STATE/home
Where=$1
Type=none
Options=bind
[Install]
WantedBy=local-fs.target
UNIT
    systemctl daemon-reload
    systemctl enable --now "$unit"
    mountpoint -q "$1"
}

put_keys() {
    local file kind key _
    file=$(keys_file)
    if [ ! -d "$(dirname "$file")" ]; then
        note empty-directory "$(dirname "$file")"
        install -d -m 0700 "$(dirname "$file")"
    fi
    if [ ! -e "$file" ]; then
        note empty-file "$file"
        (umask 077 && : >"$file")
    fi
    while read -r kind key _; do
        ! grep -qF -- "$key" "$file" || continue
        if [ -n "$(tail -c 1 "$file")" ]; then
            note newline "$file"
            echo >>"$file"
        fi
        note key "$file" "$kind $key twolane:$(tag mvm-label)"
        printf '%s\n' "$kind $key twolane:$(tag mvm-label)" >>"$file"
    done <<<"$KEYS"
}

begin_stage1() {
    if grep -q ' done$' "$STATE/stage1.status" 2>/dev/null || systemctl --quiet is-active twolane-stage1.service; then return 0; fi
    rm -f "$STATE/stage1.ended"
    : >"$STATE/stage1.status"
    systemctl reset-failed twolane-stage1.service 2>/dev/null || true
    systemd-run --quiet --collect --unit=twolane-stage1 --property=StandardInput=null \
        --property=ExecStopPost="/usr/bin/touch $STATE/stage1.ended" /bin/bash "$LIB/stage1.sh"
}

# --- down

down() { # LABEL RUN
    one_at_a_time
    sweep
    if is_locked && { [ "$1" = - ] || [ "$1" = "$(tag mvm-label)" ]; } && { [ "$2" = - ] || [ "$2" = "$(tag mvm-run)" ]; }; then
        remove
    fi
    say ok
}

remove() { # everything, in the opposite order
    local kind a b c failures=''
    stop_all
    while IFS=$'\t' read -r kind a b c <&3; do
        "undo_${kind//-/_}" "$a" "$b" "$c" 3<&- || failures+="; $kind $a"
    done 3< <(tac "$RECORD")
    [ -z "$failures" ] || fail unavailable "what twolane put there could not all be taken away: ${failures#; }" \
        "the lock stays until it is; $STATE/host/record names all of it"
    systemctl daemon-reload || true
    say "gone machine $(tag mvm-label)"
    # It disappears at once: half a lock would be nobody's.
    local gone
    gone=$R/var/lib/.twolane-gone-$$
    mv -T "$STATE" "$gone"
    rm -rf --one-file-system "$gone"
}

stop_all() { # checks, stage 1, stage 2; not the one that calls us
    local units
    mapfile -t units < <(systemctl list-units --all --plain --no-legend 'twolane-*.service' 2>/dev/null | cut -d' ' -f1 |
        grep -vx twolane-deadline.service || true)
    ((${#units[@]} == 0)) || systemctl stop "${units[@]}" || true
    systemctl reset-failed 'twolane-*' 2>/dev/null || true
}

undo_file() { rm -f -- "$1"; }
undo_directory() {
    [ -d "$1" ] || return 0
    say "gone directory $1"
    rm -rf --one-file-system -- "$1"
}
undo_empty_directory() { rmdir -- "$1" 2>/dev/null || true; }
undo_empty_file() { [ -s "$1" ] || rm -f -- "$1"; }

undo_key() { # FILE LINE
    local file
    [ -e "$1" ] || return 0
    file=$(readlink -f "$1")
    grep -qxF -- "$2" "$file" || return 0
    # Keeps owner, mode and all else that the file has.
    cp -p "$file" "$file.twolane"
    grep -vxF -- "$2" "$file" >"$file.twolane" || [ $? = 1 ]
    mv "$file.twolane" "$file"
    say "gone key $2"
}

undo_newline() { # FILE: it ended without one
    [ ! -s "$1" ] || [ -n "$(tail -c 1 "$1")" ] || truncate -s -1 "$1"
}

undo_unit() {
    systemctl disable --now "$1" 2>/dev/null || true
    if [ "${1##*.}" = mount ] && mountpoint -q "$(sed -n 's/^Where=//p' "$SYSTEMD/$1" 2>/dev/null)"; then
        # Somebody stands in it: it goes with the last of them.
        umount -l "$(sed -n 's/^Where=//p' "$SYSTEMD/$1")" || return 1
    fi
    rm -f "$SYSTEMD/$1" "$SYSTEMD"/*.target.wants/"$1"
    systemctl daemon-reload || true
    systemctl reset-failed "$1" 2>/dev/null || true
}

undo_user() {
    local uid pid
    uid=$(id -u "$1" 2>/dev/null) || return 0
    systemctl stop "user@$uid.service" "user-$uid.slice" 2>/dev/null || true
    for pid in $(processes_of "$uid"); do kill -KILL "$pid" 2>/dev/null || true; done
    # The last of them may take a moment to be gone.
    local try
    for try in 1 2 3 4 5 6 7 8 9 10; do
        ! userdel "$1" 2>/dev/null || break
        sleep "0.$try"
    done
    ! getent passwd "$1" >/dev/null || return 1
    ! getent group "$1" >/dev/null || groupdel "$1"
}
undo_group() { ! getent group "$1" >/dev/null || groupdel "$1"; }
undo_member() { # USER GROUP
    if getent passwd "$1" >/dev/null && [[ " $(id -nG "$1") " == *" $2 "* ]]; then gpasswd --delete "$1" "$2" >/dev/null; fi
}
undo_mode() { # PATH MODE OWNER
    [ -e "$1" ] || return 0
    chown "$3" "$1" && chmod "$2" "$1"
}
undo_module() { modprobe -r "$1" 2>/dev/null || true; }

undo_package() { # all of them at the first one: they need each other
    [ -z "${purged:-}" ] || return 0
    purged=1
    local packages=() package
    while IFS=$'\t' read -r _ package; do
        # shellcheck disable=SC2016 # these are dpkg's own variables
        ! dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^[^u]' || packages+=("$package")
    done < <(grep '^package' "$RECORD")
    ((${#packages[@]} > 0)) || return 0
    export DEBIAN_FRONTEND=noninteractive
    # An installation that was cut in the middle is ended first.
    dpkg --configure -a >/dev/null 2>&1 || true
    dpkg --purge "${packages[@]}" >>"$STATE/host/log" 2>&1 && return
    # What came later may need one of them: that one stays, and is said.
    for package in "${packages[@]}"; do
        dpkg --purge "$package" >>"$STATE/host/log" 2>&1 || say "note package $package stays: something that came later needs it"
    done
}

# --- at the deadline

watch() {
    while sleep "${TWOLANE_BEAT:-15}"; do
        is_due || continue
        # In a unit of its own, as this one is taken away with the rest.
        systemd-run --quiet --collect --unit=remove-twolane /bin/bash "$LIB/host.sh" expire || true
        sleep 60
    done
}

is_due() {
    local at ttl up
    read -r at ttl <"$ETC/deadline" || return 1
    read -r up _ </proc/uptime
    ((EPOCHSECONDS >= at || ${up%.*} >= ttl))
}

expire() {
    one_at_a_time
    sweep
    ! is_locked || ! is_due || remove
    say ok
}

# --- looking

status() {
    local line
    if is_locked; then
        while read -r line; do say "tag $line"; done <"$STATE/host/tags"
        if is_over; then say 'state overdue'; else say 'state locked'; fi
    fi
    say ok
}

finding() { say "finding $1|$2|$(plain "$3")|$(plain "${4:-}")"; } # good or bad, WHAT FOUND MEND

doctor() { # DIR
    local why
    # shellcheck source=/dev/null
    . "$1/order"
    finding good root "commands run as $(id -un)"
    why=$(check_system) || true
    if [ -n "$why" ]; then
        why=${why#fail *|}
        finding bad system "${why%%|*}" "${why#*|}"
        say ok
        return
    fi
    finding good system "$(describe)"
    why=$(why_no_root)
    if [ -n "$why" ]; then finding bad 'root login' "${why%%|*}" "${why#*|}"; else finding good 'root login' "$(keys_file)"; fi
    why=$(check_gate "$1")
    if [ -z "$why" ]; then
        finding good kvm "$KVM works"
    elif [ -n "$GATE_REQUIRED" ]; then
        finding bad kvm "$why" 'switch virtualisation on there, or name another machine'
    else
        finding good kvm "not needed here: $why"
    fi
    if is_locked; then
        finding bad lock "it is taken by $(holder)" 'wait, or name another machine'
    else
        why=$(check_foreign) || true
        why=${why#fail *|}
        if [ -n "$why" ]; then finding bad lock "${why%%|*}" "${why#*|}"; else finding good lock 'nobody has it'; fi
    fi
    say ok
}

command=${1:-}
(($# == 0)) || shift
need() { (($# - 1 == $1)) || usage 'wrong number of arguments'; }
case $command in
up) need 1 "$@" && up "$@" ;;
put) need 1 "$@" && put "$@" ;;
down) need 2 "$@" && down "$@" ;;
status) need 0 "$@" && status ;;
doctor) need 1 "$@" && doctor "$@" ;;
retag) need 2 "$@" && retag "$@" ;;
claim) (($# >= 2)) || usage 'claim KIND WHAT…' && claim "$@" ;;
watch) need 0 "$@" && watch ;;
expire) need 0 "$@" && expire ;;
*) usage "no such command: $command" ;;
esac
