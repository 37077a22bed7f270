# shellcheck shell=bash disable=SC2154,SC2317 # stage1.sh reads this
# Stage 1 in two parts. In a template, a box that is nobody's yet, runs what all boxes of a configuration share; then it
# waits for its identity (identity.py), and is frozen. In each of its clones, which knows who it is by then, runs the rest.

STEPS_OF_TEMPLATE='users directories packages toolchain nix firecracker cargo-tools'
STEPS_OF_CLONE='keys gate vmm'
PORT=${TWOLANE_PORT:-/dev/virtio-ports/twolane.identity}

template() {
    begin
    # Nobody logs in to a template: it speaks over its port.
    say() {
        local line="${EPOCHREALTIME:0:14} $*"
        echo "$line" >>"$STATE/stage1.status"
        echo "$line" >"$PORT" || true
    }
    # With no deadline there yet it only waits for one.
    arm_deadman
    # shellcheck disable=SC2086 # names
    run_steps $STEPS_OF_TEMPLATE
    open_kvm_to_its_group
    modprobe vmgenid 2>/dev/null || true
    no_session_for_root
    mv "$STATE/stage1.status" "$STATE/stage1.template"
    # Gone with the next boot: a clone that restarts is somebody already.
    cat >/run/systemd/system/twolane-identity.service <<UNIT
[Unit]
Description=Waits to learn who this box is
After=cloud-final.service
[Service]
Type=notify
TimeoutStartSec=infinity
ExecStart=/usr/bin/python3 -I $LIB/identity.py
StandardOutput=append:$STATE/stage1.log
StandardError=append:$STATE/stage1.log
UNIT
    systemctl daemon-reload
    systemctl start --no-block twolane-identity.service
}

# Most of what a login costs on an emulated CPU is PAM's session: message of the day, user manager. twolane, which
# comes as root, needs none of it; other users have theirs.
no_session_for_root() {
    sed -i '1i session [success=done default=ignore] pam_succeed_if.so quiet uid = 0' /etc/pam.d/sshd
}

clone() { # VMGENID: ok, or none when the kernel did not learn from its machine that it was cloned
    begin
    trap ': >"$STATE/stage1.ended"' EXIT
    local word name rest
    while read -r _ word name rest; do
        case $word in
        skip) say "skip $name $rest" ;;
        end) say "skip $name done in the template" ;;
        esac
    done <"$STATE/stage1.template"
    if [ "$1" = ok ]; then
        say 'end vmgenid ok'
    else
        say 'skip vmgenid this kernel has no driver for it; its random numbers were made anew over the port alone'
    fi
    # shellcheck disable=SC2086 # names
    run_steps $STEPS_OF_CLONE
    say 'done'
}

"$@"
