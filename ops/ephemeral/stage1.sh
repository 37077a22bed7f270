#!/bin/bash
# Stage 1 on the box: makes the system ready, step by step. Knows nothing of the project itself:
# what to install stands in /etc/twolane/stage1.env, written from twolane.toml.
#
#   stage1.sh             runs all steps; each step's begin and end is a line of stage1.status
#   stage1.sh step NAME   runs one step (0 done, 77 skipped, else failed; the reason in stage1.reason)
#   stage1.sh deadman     powers the box off at its deadline, never returns
#   stage1.sh template | clone VMGENID   its parts in a box that is cloned, and in a clone (template.sh)
#
# Everything that is downloaded is pinned, its checksum verified, and it is run as a file.
# It can be run again: what exists already is left alone.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=a

ETC=${TWOLANE_ETC:-/etc/twolane}
STATE=${TWOLANE_STATE:-/var/lib/twolane}
LIB=${TWOLANE_LIB:-/usr/local/lib/twolane}
BIN=${TWOLANE_BIN:-/usr/local/bin}
OPT=${TWOLANE_OPT:-/opt/twolane}
KVM=${TWOLANE_KVM:-/dev/kvm}
MODPROBE_D=${TWOLANE_MODPROBE_D:-/etc/modprobe.d}
ARCH=$(uname -m)
LINKS='' # where links to the operator's toolchain go; $BIN when empty

# The accounts come first, as the rest is for them; then the gate, so that a box which
# cannot serve is given up before anything is downloaded.
STEPS='users directories keys gate packages toolchain nix firecracker vmm cargo-tools'

PACKAGES='' USERS='' DIRECTORIES='' WORK_USER=dev MIRROR='' GATE_REQUIRED='' HIDE_KVM='' CARGO_TOOLS=''
TOOLCHAIN='' TOOLCHAIN_KEY='' RUSTUP_VERSION='' RUST_CHANNEL='' RUST_COMPONENTS='' RUST_TARGETS=''
NIX_VERSION='' FIRECRACKER_VERSION=''
# shellcheck source=/dev/null
[ ! -e "$ETC/stage1.env" ] || . "$ETC/stage1.env"

limit_of() { # seconds that a step may take
    case $1 in
    users | directories | keys) echo 60 ;;
    gate | vmm) echo 300 ;;
    cargo-tools) echo "${LIMIT_CARGO_TOOLS:-2400}" ;;
    *) echo "${LIMIT_STEP:-900}" ;;
    esac
}

is_configured() { # NAME; costs no process, as most projects leave most steps out
    case $1 in
    users) [ -n "$USERS" ] ;;
    directories) [ -n "$DIRECTORIES" ] ;;
    packages) [ -n "$PACKAGES" ] ;;
    toolchain) [ -n "$TOOLCHAIN" ] ;;
    nix) [ -n "$NIX_VERSION" ] ;;
    firecracker | vmm) [ -n "$FIRECRACKER_VERSION" ] ;;
    cargo-tools) [ -n "$CARGO_TOOLS" ] ;;
    esac
}

say() { # one line of the status file
    printf '%s %s\n' "${EPOCHREALTIME:0:14}" "$*" >>"$STATE/stage1.status"
}

stop_with() { # STATUS MESSAGE: ends a step
    printf '%s' "$2" | tr '\n' ' ' >"$STATE/stage1.reason"
    exit "$1"
}
fail() { stop_with 1 "$*"; }
succeed() { stop_with 0 "$*"; }
skip() { stop_with 77 "$*"; }

# --- what the steps share

# On a machine that was there before (host.sh), what was there stays, and what is put there is recorded first.
on_host() { [ -e "$LIB/host.sh" ]; }
claim() { ! on_host || bash "$LIB/host.sh" claim "$@"; }

home_of() { getent passwd "$1" | cut -d: -f6 || true; }

as_user() { # COMMAND…: as the user of the checks, in that user's home
    local uid='' gid='' home=''
    if [ "$EUID" != 0 ]; then "$@"; return; fi
    IFS=: read -r _ _ uid gid _ home _ < <(getent passwd "$WORK_USER") || true
    # Not runuser: its PAM session takes half a second on an emulated CPU.
    (cd "${home:-/}" && HOME=$home USER=$WORK_USER LOGNAME=$WORK_USER \
        exec setpriv --reuid "$uid" --regid "$gid" --init-groups -- "$@")
}

pinned() { # NAME: the checksum NAME_SHA256_<arch>
    local name="$1_SHA256_$ARCH"
    [ -n "${!name:-}" ] || fail "no checksum for $ARCH is configured: add sha256.$ARCH"
    printf '%s' "${!name}"
}

fetch() { # URL SHA256 FILE: from the mirror when there is one
    local url=$1 sha=$2 file=$3 try got reason=''
    if [ -n "$MIRROR" ]; then
        url=${url#*://}
        url=${MIRROR%/}/${url#*/}
    fi
    for try in 1 2 3 4; do
        [ "$try" = 1 ] || sleep "$((try * ${FETCH_PAUSE:-2}))"
        echo "fetching $url"
        if reason=$(python3 -c '
import shutil, sys, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=60) as answer, open(sys.argv[2], "wb") as file:
        shutil.copyfileobj(answer, file)
        left = answer.length
    sys.exit(f"{left} bytes are missing" if left else 0)
except (OSError, ValueError) as error:
    sys.exit(str(error))' "$url" "$file.part" 2>&1); then
            got=$(sha256sum "$file.part" | cut -d' ' -f1)
            if [ "$got" != "$sha" ]; then
                rm -f "$file.part"
                fail "$url has the wrong checksum: sha256 $got, not $sha"
            fi
            mv "$file.part" "$file"
            return
        fi
    done
    rm -f "$file.part"
    fail "could not download $url: $reason"
}

# --- the steps

step_users() {
    getent group kvm >/dev/null || { claim group kvm && groupadd --system kvm; }
    local name kind
    while read -r name kind; do
        if ! getent passwd "$name" >/dev/null; then
            local args=(--user-group)
            if [ "$kind" = login ]; then
                args+=(--create-home --shell /bin/bash)
            else
                args+=(--system --no-create-home --home-dir / --shell /usr/sbin/nologin)
            fi
            claim user "$name"
            useradd "${args[@]}" "$name"
        fi
        [ "$kind" != login ] || { claim member "$name" kvm && usermod --append --groups kvm "$name"; }
    done <<<"$USERS"
}

step_directories() {
    local mode owner group path
    while read -r mode owner group path; do
        if on_host && [ -e "$path" ]; then continue; fi
        claim directory "$path"
        install -d -m "$mode" -o "$owner" -g "$group" "$path"
    done <<<"$DIRECTORIES"
}

step_keys() { # who may log in as root may log in as the user of the checks
    local home
    home=$(home_of "$WORK_USER")
    [ -n "$home" ] || skip "there is no user $WORK_USER"
    [ -s /root/.ssh/authorized_keys ] || skip 'root has no authorized keys'
    install -d -m 0700 -o "$WORK_USER" -g "$WORK_USER" "$home/.ssh"
    # Some images force a command on root's keys ("log in as ubuntu"); that is not for this user.
    local all="$home/.ssh/.authorized_keys.new"
    { cat "$home/.ssh/authorized_keys" 2>/dev/null || true; cat /root/.ssh/authorized_keys; } |
        sed -E 's/^.*command="[^"]*" +(ssh-|ecdsa-|sk-)/\1/' | sort -u >"$all"
    chown "$WORK_USER:$WORK_USER" "$all"
    chmod 0600 "$all"
    mv "$all" "$home/.ssh/authorized_keys"
}

step_gate() {
    local why taken='' code=0
    # A lane without need of KVM has none, wherever it runs: what passes there needs none.
    if [ -n "$HIDE_KVM" ]; then hide_kvm; else open_kvm_to_its_group; fi
    as_user python3 -I -S "$LIB/kvm-gate.py" --device "$KVM" >"$STATE/gate.json.new" || code=$?
    [ -z "$taken" ] || python3 -I -S -c 'import json, sys
answer = json.load(open(sys.argv[1])) | {"works": False, "sentence": sys.argv[2]}
json.dump(answer, open(sys.argv[1], "w"))' "$STATE/gate.json.new" "$taken" || fail 'the KVM gate gave no answer'
    mv "$STATE/gate.json.new" "$STATE/gate.json"
    [ "$code" != 0 ] || return 0
    why=$(python3 -I -S -c 'import json, sys
print(json.load(open(sys.argv[1]))["sentence"])' "$STATE/gate.json") || fail 'the KVM gate gave no answer'
    [ -z "$GATE_REQUIRED" ] || fail "$why"
    skip "KVM is not needed here: $why"
}

hide_kvm() { # sets $taken where there was one
    [ ! -e "$KVM" ] || taken="$KVM was taken away: a lane with kvm = none has none"
    if on_host; then # which is not ours to change: the checks' own units do without it
        [ -z "$taken" ] || taken="$KVM is kept from the checks: a lane with kvm = none has none"
        return 0
    fi
    local module
    mkdir -p "$MODPROBE_D"
    printf 'install %s /bin/false\n' kvm kvm_intel kvm_amd >"$MODPROBE_D/twolane-no-kvm.conf"
    for module in kvm_intel kvm_amd kvm; do modprobe -r "$module" 2>/dev/null || true; done
    rm -f "$KVM"
}

open_kvm_to_its_group() {
    [ "$KVM" = /dev/kvm ] || return 0
    [ -c "$KVM" ] || { claim module kvm_intel && modprobe kvm_intel 2>/dev/null; } ||
        { claim module kvm_amd && modprobe kvm_amd 2>/dev/null; } || true
    claim mode "$KVM"
    [ ! -c "$KVM" ] || { chgrp kvm "$KVM" && chmod 0660 "$KVM"; }
}

is_installed() { # PACKAGE…: all of them
    local found
    # shellcheck disable=SC2016 # these are dpkg's own variables
    found=$(dpkg-query -W -f '${db:Status-Status}\n' "$@" 2>/dev/null) || return 1
    ! grep -qvx installed <<<"$found"
}

quiet_apt() { # nobody else may hold the lock: the timers are off, what runs is waited for
    systemctl mask --now apt-daily.timer apt-daily-upgrade.timer unattended-upgrades.service 2>/dev/null || true
    systemctl mask apt-daily.service apt-daily-upgrade.service 2>/dev/null || true
    dpkg --configure -a
}

apt() { # ARGUMENT…: apt-get that waits for locks and repeats failed downloads
    local try out="$STATE/apt.out"
    for try in 1 2 3 4 5 6; do
        if apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Acquire::http::Timeout=30 \
            -o APT::Update::Error-Mode=any "$@" 2>&1 | tee "$out"; then
            return
        fi
        # The lock of the package lists is the one that apt does not wait for.
        grep -q 'Could not get lock' "$out" || break
        sleep "$((try * 5))"
    done
    fail "apt-get $1 failed: $(grep '^[EW]:' "$out" | tail -n 2 | tr '\n' ' ')"
}

install_packages() { # PACKAGE…
    if on_host; then
        install_beside "$@"
        return
    fi
    quiet_apt
    apt update
    apt install -y --no-install-recommends "$@"
}

install_beside() { # PACKAGE…: what is missing, with lists of its own; nothing that is there changes
    local package plan changed new missing=()
    for package in "$@"; do is_installed "$package" || missing+=("$package"); done
    command -v apt-get >/dev/null || fail "this machine has no apt to install ${missing[*]}: install that there"
    mkdir -p "$STATE/apt/lists/partial" "$STATE/apt/cache/archives/partial"
    cp /var/lib/apt/extended_states "$STATE/apt/" 2>/dev/null || true
    printf 'Dir::State::Lists "%s";\nDir::Cache "%s";\nDir::State::extended_states "%s";\n' \
        "$STATE/apt/lists" "$STATE/apt/cache" "$STATE/apt/extended_states" >"$STATE/apt/apt.conf"
    export APT_CONFIG=$STATE/apt/apt.conf
    apt update
    plan=$(apt-get -q -s install -y --no-install-recommends --no-upgrade "${missing[@]}" 2>&1) ||
        fail "cannot install ${missing[*]}: $(grep '^[EW]:' <<<"$plan" | tail -n 2)"
    changed=$(sed -n 's/^Inst \([^ ]*\) \[.*/\1/p; s/^Remv \([^ ]*\).*/\1/p' <<<"$plan" | sort -u | paste -sd ' ')
    [ -z "$changed" ] || fail "installing ${missing[*]} would change or remove what is there: $changed"
    new=$(sed -n 's/^Inst \([^ ]*\) (.*/\1/p' <<<"$plan")
    # shellcheck disable=SC2086 # names of packages hold no blanks
    claim package $new
    apt install -y --no-install-recommends --no-upgrade "${missing[@]}"
}

step_packages() {
    local packages
    read -r -a packages <<<"$PACKAGES"
    ! is_installed "${packages[@]}" || skip 'all are installed'
    install_packages "${packages[@]}"
}

step_toolchain() {
    case $TOOLCHAIN in
    apt) toolchain_from_apt ;;
    rustup) toolchain_from_rustup ;;
    operator) toolchain_from_operator ;;
    *) fail "no such kind of toolchain: $TOOLCHAIN" ;;
    esac
}

toolchain_from_apt() {
    local packages=(cargo rustc rust-clippy rustfmt)
    ! is_installed "${packages[@]}" || skip 'all are installed'
    install_packages "${packages[@]}"
}

toolchain_from_rustup() {
    local home sha init component target args=()
    home=$(home_of "$WORK_USER")
    if as_user "$home/.cargo/bin/rustup" toolchain list 2>/dev/null | grep -q "^$RUST_CHANNEL"; then
        skip "$RUST_CHANNEL is installed"
    fi
    sha=$(pinned RUSTUP)
    init=$(mktemp -d)
    fetch "https://static.rust-lang.org/rustup/archive/$RUSTUP_VERSION/$ARCH-unknown-linux-gnu/rustup-init" \
        "$sha" "$init/rustup-init"
    chmod 0755 "$init" "$init/rustup-init"
    for component in $RUST_COMPONENTS; do args+=(--component "$component"); done
    for target in $RUST_TARGETS; do args+=(--target "$target"); done
    local server=()
    [ -z "$MIRROR" ] || server=(RUSTUP_DIST_SERVER="${MIRROR%/}" RUSTUP_UPDATE_ROOT="${MIRROR%/}/rustup")
    as_user env "${server[@]}" "$init/rustup-init" -y --no-modify-path --profile minimal \
        --default-toolchain "$RUST_CHANNEL" "${args[@]}"
    rm -rf "$init"
}

toolchain_from_operator() {
    [ -x "$OPT/toolchain/$TOOLCHAIN_KEY/bin/cargo" ] || skip "waiting for the operator's copy"
    ln -sfn "$OPT/toolchain/$TOOLCHAIN_KEY/bin/"* "${LINKS:-$BIN}/"
}

step_nix() {
    [ ! -x /nix/var/nix/profiles/default/bin/nix ] || skip 'it is installed'
    ! on_host || fail 'it is not on this machine, and could not all be taken away again: install it there, or leave `nix` out'
    local sha work
    sha=$(pinned NIX)
    work=$(mktemp -d)
    fetch "https://releases.nixos.org/nix/nix-$NIX_VERSION/nix-$NIX_VERSION-$ARCH-linux.tar.xz" "$sha" "$work/nix.tar.xz"
    tar -C "$work" -xf "$work/nix.tar.xz"
    "$work/nix-$NIX_VERSION-$ARCH-linux/install" --daemon --yes --no-channel-add
    rm -rf "$work"
}

step_firecracker() {
    if [ -x "$BIN/jailer" ] && "$BIN/firecracker" --version 2>/dev/null | grep -qF "$FIRECRACKER_VERSION"; then
        skip "$FIRECRACKER_VERSION is installed"
    fi
    local sha work name version=$FIRECRACKER_VERSION
    sha=$(pinned FIRECRACKER)
    work=$(mktemp -d)
    fetch "https://github.com/firecracker-microvm/firecracker/releases/download/$version/firecracker-$version-$ARCH.tgz" \
        "$sha" "$work/firecracker.tgz"
    tar -C "$work" -xzf "$work/firecracker.tgz"
    for name in firecracker jailer; do
        claim file "$BIN/$name"
        install -m 0755 "$work/release-$version-$ARCH/$name-$version-$ARCH" "$BIN/$name"
    done
    rm -rf "$work"
}

step_vmm() { # the gate's other half: a real kernel, this box's own, boots in the VMM that was just installed
    [ -n "$GATE_REQUIRED" ] || skip 'KVM is not needed here'
    local work sentence code=0
    work=$(mktemp -d)
    chmod 0755 "$work"
    # The kernel can be read by root alone; it is booted by who runs the checks.
    sentence=$(python3 "$LIB/vmm-boot.py" extract "${KERNEL:-/boot/vmlinuz-$(uname -r)}" "$work/kernel") || code=$?
    if [ "$code" = 0 ]; then
        sentence=$(as_user python3 "$LIB/vmm-boot.py" boot "$BIN/firecracker" "$work/kernel") || code=$?
    fi
    rm -rf "$work"
    case $code in
    0) succeed "$sentence" ;;
    77) fail "no kernel could be tried in the VMM: $sentence" ;;
    *) fail "$sentence" ;;
    esac
}

step_cargo_tools() {
    local cargo name version url sha sha_aarch64 missing=()
    cargo=$(as_user bash -lc "PATH=\"\$HOME/.cargo/bin:\$PATH\"; command -v cargo") || cargo=''
    while read -r name version url sha sha_aarch64; do
        if as_user bash -lc "PATH=\"\$HOME/.cargo/bin:\$PATH\"; command -v $name" >/dev/null; then
            echo "$name is installed"
        elif [ "$url" != - ]; then
            [ "$ARCH" != aarch64 ] || sha=$sha_aarch64
            [ "$sha" != - ] || fail "no checksum of $name for $ARCH is configured"
            cargo_tool_from_archive "$name" "${url//\{arch\}/$ARCH}" "$sha"
        elif [ -n "$cargo" ]; then
            as_user "$cargo" install --quiet --locked --version "$version" "$name" </dev/null
        else
            missing+=("$name")
        fi
    done <<<"$CARGO_TOOLS"
    [ ${#missing[@]} = 0 ] || skip "there is no cargo yet to build ${missing[*]}"
}

cargo_tool_from_archive() { # NAME URL SHA256: the archive holds the program under its own name
    local work found
    work=$(mktemp -d)
    fetch "$2" "$3" "$work/archive"
    tar -C "$work" -xf "$work/archive"
    found=$(find "$work" -type f -name "$1" -print -quit)
    [ -n "$found" ] || fail "the archive $2 holds no $1"
    claim file "$BIN/$1"
    install -m 0755 "$found" "$BIN/$1"
    rm -rf "$work"
}

# --- the dead man's switch

arm_deadman() {
    # A machine that is not ours is never powered off: host.sh has a timer of its own.
    if on_host; then return 0; fi
    cat >/etc/systemd/system/twolane-deadline.service <<UNIT
[Unit]
Description=Powers this box off at the deadline in $ETC/deadline
[Service]
ExecStart=/bin/bash $LIB/stage1.sh deadman
Restart=always
[Install]
WantedBy=multi-user.target
UNIT
    systemctl daemon-reload
    systemctl enable --now --no-block twolane-deadline.service
}

# $ETC/deadline holds the moment in unix seconds, and the seconds of uptime that are the limit even
# when the clock is wrong. A clock that jumps for a moment powers nothing off.
deadman() {
    local at ttl up overdue=0
    while sleep 15; do
        [ -e "$ETC/deadline" ] || continue
        read -r at ttl <"$ETC/deadline" || continue
        read -r up _ </proc/uptime
        if ((EPOCHSECONDS >= at)); then ((++overdue)); else overdue=0; fi
        if ((overdue >= 3 || ${up%.*} >= ttl)); then
            echo 'the deadline has passed: powering off'
            systemctl poweroff || true
            sleep 90
            systemctl poweroff --force --force
        fi
    done
}

# --- all together

last_line() { # of the log since a byte
    tail -c "+$(($1 + 1))" "$STATE/stage1.log" | grep -v '^\s*$' | tail -n 1 | cut -c 1-300
}

run_step() { # NAME; returns false when it failed
    local name=$1 limit from code=0 reason
    if ! is_configured "$name"; then
        say "skip $name none configured"
        return
    fi
    limit=$(limit_of "$name")
    rm -f "$STATE/stage1.reason"
    from=$(stat -c %s "$STATE/stage1.log")
    echo "== $name" >>"$STATE/stage1.log"
    say "begin $name"
    timeout --kill-after=10 "$limit" /bin/bash "$0" step "$name" >>"$STATE/stage1.log" 2>&1 </dev/null || code=$?
    reason=$(cat "$STATE/stage1.reason" 2>/dev/null || { [ "$code" = 0 ] || last_line "$from"; })
    case $code in
    0) say "end $name ok${reason:+ $reason}" && return ;;
    77) say "skip $name $reason" && return ;;
    124 | 137) reason="hung, and was cut after $limit s: $(last_line "$from")" ;;
    esac
    say "end $name failed $reason"
    say "failed $name $reason"
    echo "stage 1 failed at $name: $reason" >&2
    return 1
}

run_steps() { # NAME…
    local name
    for name in "$@"; do
        run_step "$name" || exit 1
    done
}

begin() {
    mkdir -p "$STATE"
    chmod 0755 "$STATE"
    : >"$STATE/stage1.status"
    : >>"$STATE/stage1.log"
}

main() {
    begin
    [ ! -s "$ETC/deadline" ] || arm_deadman
    # shellcheck disable=SC2086 # names
    run_steps $STEPS
    say 'done'
}

case ${1:-} in
'') main ;;
step) "step_${2//-/_}" ;;
deadman) deadman ;;
template | clone)
    # shellcheck source=/dev/null
    . "$LIB/template.sh"
    ;;
hide-kvm) hide_kvm ;;
*)
    echo 'usage: stage1.sh [step NAME | deadman | hide-kvm]' >&2
    exit 2
    ;;
esac
