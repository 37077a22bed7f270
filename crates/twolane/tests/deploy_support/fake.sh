#!/bin/bash
# Stands in for the programs that post-deploy.sh has do things to the system; called by their names. What units do is reported
# by files under $FAKE, and every order is recorded in $FAKE/orders.
set -euo pipefail
name=${0##*/}
units=()
words=()
for word in "$@"; do
    case $word in
    --unit=*) units+=("${word#--unit=}") ;;
    -*) ;;
    *.service) units+=("$word") ;;
    *) words+=("$word") ;;
    esac
done
order() { echo "$*" >>"$FAKE/orders"; }
does() { cat "$FAKE/does/$1" 2>/dev/null || echo run; }
case "$name ${words[0]:-}" in
'systemctl show')
    for unit in "${units[@]}"; do
        restarts=0 state=inactive since=1
        [ ! -e "$FAKE/active/$unit" ] || state=active
        if [ "$(does "$unit")" = loop ]; then
            restarts=$(($(cat "$FAKE/restarts" 2>/dev/null || echo 0) + 1))
            echo "$restarts" >"$FAKE/restarts"
            read -r up _ </proc/uptime
            since=${up%.*}000000
        fi
        case $* in
        *NeedDaemonReload*) echo NeedDaemonReload=no ;;
        *) printf 'NRestarts=%s\nActiveState=%s\nActiveEnterTimestampMonotonic=%s\n\n' "$restarts" "$state" "$since" ;;
        esac
    done
    ;;
'systemctl is-active')
    code=0
    for unit in "${units[@]}"; do
        if [ -e "$FAKE/active/$unit" ]; then echo active; else echo inactive && code=3; fi
    done
    exit "$code"
    ;;
'systemctl is-enabled')
    for unit in "${units[@]}"; do [ -e "$FAKE/enabled/$unit" ] || exit 1; done
    ;;
'systemctl enable')
    order enable "${units[@]}"
    for unit in "${units[@]}"; do : >"$FAKE/enabled/$unit"; done
    ;;
'systemctl disable')
    order disable "${units[@]}"
    for unit in "${units[@]}"; do rm -f "$FAKE/active/$unit" "$FAKE/enabled/$unit"; done
    ;;
'systemctl restart')
    order restart "${units[@]}"
    for unit in "${units[@]}"; do
        case $(does "$unit") in
        hang) exec sleep 1000 ;;
        fail) echo "Job for $unit failed." >&2 && exit 1 ;;
        *) : >"$FAKE/active/$unit" ;;
        esac
    done
    ;;
'systemctl reset-failed' | 'systemctl daemon-reload') ;;
journalctl*) echo "the last words of ${units[*]}" ;;
df*) printf 'Avail\n%s\n' "$(cat "$FAKE/free" 2>/dev/null || echo 9999999)" ;;
usermod* | useradd*) order "$name" "$@" ;;
*)
    echo "nobody expects: $name $*" >&2
    exit 99
    ;;
esac
