#!/bin/bash
# Stands in for the programs with which host.sh changes a machine; called by their names. What there is of users, groups,
# units and packages are files under $TWOLANE_ROOT/fake, and every order is a line of $TWOLANE_ROOT/orders.
set -euo pipefail
name=${0##*/}
fake=$TWOLANE_ROOT/fake
last=${*: -1}
order() { echo "$name $*" >>"$TWOLANE_ROOT/orders"; }
# Whoever comes here is killed with all that it is part of, to see what is left of a half-done piece of work.
if [ -e "$TWOLANE_ROOT/die-at" ] && [ "$name $*" = "$(cat "$TWOLANE_ROOT/die-at")" ]; then
    rm "$TWOLANE_ROOT/die-at"
    kill -KILL 0
fi
case $name in
getent)
    [ -e "$fake/$1/$2" ] || exit 2
    [ "$1" != passwd ] || echo "$2:x:4242:4242::$(cat "$fake/$1/$2"):/bin/bash"
    ;;
id) # without a user it is asked for the one that runs all this
    case $* in
    -u) if [ -e "$TWOLANE_ROOT/not-root" ]; then echo 1000; else echo 0; fi ;;
    -un) if [ -e "$TWOLANE_ROOT/not-root" ]; then echo eve; else echo root; fi ;;
    '-u '*) [ -e "$fake/passwd/$2" ] && echo 4242424 ;;
    '-nG '*) (cd "$fake/group" && grep -lx "$2" -- * | paste -sd ' ') || true ;;
    esac
    ;;
sudo) exit 1 ;;
sync) ;; # a directory is gone with the test, and a disk takes its time
useradd | userdel)
    order "$@"
    while (($# > 1)); do
        [ "$1" != --home-dir ] || home=$2
        shift
    done
    if [ "$name" = useradd ]; then
        echo "${home:-/}" >"$fake/passwd/$last"
        : >"$fake/group/$last"
    else
        rm "$fake/passwd/$last" "$fake/group/$last"
    fi
    ;;
groupadd) order "$@" && : >"$fake/group/$last" ;;
groupdel) order "$@" && rm "$fake/group/$last" ;;
usermod) order "$@" && echo "$last" >>"$fake/group/${*: -2:1}" ;;
gpasswd) order "$@" && sed -i "/^$2$/d" "$fake/group/$3" ;;
sshd)
    cat "$TWOLANE_ROOT/sshd" 2>/dev/null || printf 'permitrootlogin prohibit-password\nauthorizedkeysfile .ssh/authorized_keys\n'
    echo "hostkey $TWOLANE_ROOT/etc/ssh/ssh_host_ed25519_key"
    ;;
systemctl)
    unit=$last
    [ "$1" != --quiet ] || shift
    case $1 in
    enable) order "$@" && : >"$fake/active/$unit" ;;
    disable) order "$@" && rm -f "$fake/active/$unit" ;;
    stop)
        order "$@"
        shift
        for unit in "$@"; do rm -f "$fake/active/$unit"; done
        ;;
    is-active) [ -e "$fake/active/$unit" ] ;;
    list-units) (cd "$fake/active" && for unit in twolane-*.service; do [ ! -e "$unit" ] || echo "$unit loaded active running"; done) ;;
    daemon-reload | reset-failed) ;;
    esac
    ;;
systemd-run)
    order "$@"
    for word in "$@"; do
        case $word in --unit=*) : >"$fake/active/${word#--unit=}.service" ;; esac
    done
    ;;
mountpoint) [ -e "$fake/active/home-mvm.mount" ] ;;
modprobe | chown | runuser | umount) order "$@" ;;
dpkg)
    order "$@"
    [ "$1" = --purge ] || exit 0
    shift
    for package in "$@"; do
        if [ -e "$TWOLANE_ROOT/needed/$package" ]; then echo "dpkg: $package is needed" >&2 && exit 1; fi
    done
    for package in "$@"; do rm "$fake/package/$package"; done
    ;;
dpkg-query) [ -e "$fake/package/$last" ] && echo 'ii ' ;;
*)
    echo "nobody expects: $name $*" >&2
    exit 99
    ;;
esac
