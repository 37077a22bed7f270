#!/usr/bin/env bash
# A shell adapter that works without a cloud: each box is a QEMU process of this machine, on a loopback address of its
# own, where its SSH server answers at port 22. Copy it to providers/qemu.sh and name it in `boxes`.
#
# QEMU_IMAGE   the disk image that boxes begin with: Debian 12 or Ubuntu 24.04 with cloud-init. It is not changed.
# QEMU_FORMAT  its format: qcow2 (default) or raw
# QEMU_KERNEL, QEMU_INITRD, QEMU_APPEND   for an image that does not boot by itself
# QEMU_ACCEL   kvm or tcg (default: kvm where /dev/kvm can be opened)
# QEMU_BOXES   where boxes are kept (default: /var/tmp/twolane-qemu-UID)
#
# Port 22 of a loopback address may be had by root, and by others after
# `sysctl net.ipv4.ip_unprivileged_port_start=22`.

# CPUs and memory in GiB.
provider_default_instance_type() { echo "2x2"; }

provider_default_region() { echo "here"; }

# provider_up LABEL CLOUD_INIT_FILE
provider_up() {
    local label=$1 user_data=$2 box address
    [ -r "${QEMU_IMAGE:-}" ] || { echo "set QEMU_IMAGE to a disk image" >&2; return 1; }
    box=$(_box "$label")
    mkdir -p "$(dirname "$box")" || return
    # Whoever made it may still be at it: a second box of that label is refused.
    mkdir -m 700 "$box" || return
    _seed "$box" "$label" "$user_data" || return
    qemu-img create -q -f qcow2 -b "$(realpath "$QEMU_IMAGE")" -F "${QEMU_FORMAT:-qcow2}" \
        "$box/disk.qcow2" "${BOOT_DISK_SIZE:-20}G" >&2 || return
    address=$(_start "$box") || return
    echo "$address"
}

# provider_down LABEL; an empty one means every box
provider_down() {
    local box failed=0
    if [ -n "$1" ]; then
        _end "$(_box "$1")"
        return
    fi
    for box in "$(_boxes)"/*/; do
        _end "${box%/}" || failed=1
    done
    return "$failed"
}

_boxes() { echo "${QEMU_BOXES:-/var/tmp/twolane-qemu-$UID}"; }

_box() { echo "$(_boxes)/$1"; }

# _seed BOX LABEL USER_DATA: what cloud-init looks for, on a disk that QEMU makes of a directory.
_seed() {
    mkdir "$1/seed" &&
        install -m 600 "$3" "$1/seed/user-data" &&
        printf 'instance-id: %s\nlocal-hostname: %s\n' "$2" "$2" >"$1/seed/meta-data"
}

# _start BOX: starts it at the first loopback address that nobody has, and prints that.
_start() {
    local box=$1 number said
    for number in {1..254}; do
        if said=$(_qemu "$box" "127.0.54.$number" 2>&1); then
            echo "127.0.54.$number"
            return
        fi
        case $said in
        *"host forwarding rule"*) ;;
        *) break ;;
        esac
    done
    printf 'QEMU did not start: %s\n' "$said" >&2
    return 1
}

# _qemu BOX ADDRESS: starts QEMU, which goes on in the background and ends when the box powers itself off.
_qemu() {
    # With a thread for each CPU, a QEMU before 8.1 can hang a guest that patches its own code.
    local box=$1 address=$2 size=${INSTANCE_TYPE:-2x2} accel=tcg,thread=single kernel=()
    if [ -n "${QEMU_KERNEL:-}" ]; then
        kernel=(-kernel "$QEMU_KERNEL" -append "${QEMU_APPEND:-}")
        [ -z "${QEMU_INITRD:-}" ] || kernel+=(-initrd "$QEMU_INITRD")
    fi
    [ ! -w /dev/kvm ] || accel=kvm
    qemu-system-x86_64 -name "$(basename "$box")" -nodefaults -display none -daemonize -pidfile "$box/pid" \
        -serial "file:$box/console.log" -accel "${QEMU_ACCEL:-$accel}" -cpu max -smp "${size%x*}" -m "${size#*x}G" \
        -drive "file=$box/disk.qcow2,if=virtio,format=qcow2,cache=unsafe" \
        -drive "file.driver=vvfat,file.dir=$box/seed,file.label=CIDATA,if=virtio,format=raw,readonly=on" \
        -netdev "user,id=net,hostfwd=tcp:$address:22-:22" -device virtio-net-pci,netdev=net,romfile= \
        -device virtio-rng-pci "${kernel[@]}"
}

# _end BOX: ends its process and deletes its files. That it is gone already is as good.
_end() {
    local box=$1 pid
    [ -d "$box" ] || return 0
    for pid in $(_pids "$box"); do kill -KILL "$pid"; done
    for _ in {1..100}; do
        [ -z "$(_pids "$box")" ] && rm -rf -- "$box" && return
        sleep 0.1
    done
    echo "the QEMU of $box does not end" >&2
    return 1
}

# _pids BOX: its processes, known by their command line: the number in a file may be somebody else's by now.
_pids() { pgrep -f -- "^[^ ]*qemu-system-x86_64 .*-pidfile $1/pid " || true; }
