#!/bin/bash
# The smoke test of a deployed box, run there as user mvm: `bash ~/smoke-mvmd.sh`, or a check with run = "smoke".
# A microVM's output has to come back through all four daemons; nothing unsigned or replayed may get in; and the
# secret may stand nowhere but where it belongs. All findings are reported; the exit status is 1 when one is bad.
set -uo pipefail
export LC_ALL=C

UNITS='mvm-hostd mvmd-agent mvmd-coordinator mvmd-gateway'
CONFIG_DIR=/etc/mvmd
CONFIGS='coordinator gateway'
GATEWAY=$CONFIG_DIR/gateway.toml
SOCKETS='/run/mvm-hostd/hostd.sock /run/mvmd-agent/agent.sock'

bad=0
good() { echo "ok    $*"; }
bad() { echo "BAD   $*" && bad=1; }
expect() { # WHAT EXPECTED FOUND
    if [ "$2" = "$3" ]; then good "$1: $3"; else bad "$1: expected $2, found $3"; fi
}

# --- the daemons are there

expect 'deploy status' ready "$(cat /etc/mvm-deploy-status 2>&1)"
for unit in $UNITS; do
    expect "unit $unit" active "$(systemctl is-active "$unit" 2>&1)"
done

# --- a microVM's output comes back

# The units are active a moment before the last of them listens.
number=$((RANDOM * 2 % 65536))
text="guest $number of $(uname -n) at $EPOCHREALTIME"
until="$((SECONDS + 20))"
while :; do
    answer=$(mvmd request signed "$GATEWAY" "$number" "$text" 2>&1) && break
    if ((SECONDS >= until)) || [[ $answer != *refused\ \(os\ error* && $answer != *'does not answer'* ]]; then break; fi
    read -r -t 0.3 _ <> <(:) || true
done
expect 'what the guest wrote to its port' "said: $text" "$(sed -n 1p <<<"$answer")"
expect 'what the guest wrote to its memory' "answer: $((65535 - number))" "$(sed -n 2p <<<"$answer")"
expect 'how often it left guest mode' "exits: $((${#text} + 1))" "$(sed -n 3p <<<"$answer")"

# --- nobody else gets in

refusal() { # KIND: what the gateway says to such a request
    mvmd request "$1" "$GATEWAY" "$number" "$text" 2>&1 || true
}
expect 'an unsigned request' 'mvmd: refused: the request is not signed' "$(refusal unsigned)"
expect 'a replayed request' 'mvmd: refused: the request was seen before' "$(refusal replayed)"
for socket in $SOCKETS; do
    # This user may read the secret, but may not go around the gateway to what only the daemons' own user reaches.
    case $socket in
    /run/mvmd-agent/*) if [ -w "$socket" ]; then bad "$socket can be written to by $(id -un)"; else good "$socket is closed to $(id -un)"; fi ;;
    *) expect "mode of $(dirname "$socket")" '750 root:mvmd' "$(stat -c '%a %U:%G' "$(dirname "$socket")" 2>&1)" ;;
    esac
done

# --- the secret stands where it belongs

for config in $CONFIGS; do
    expect "mode of $CONFIG_DIR/$config.toml" '640 root:mvmd' "$(stat -c '%a %U:%G' "$CONFIG_DIR/$config.toml" 2>&1)"
done
secret() { sed -n 's/^secret = "\(.*\)"$/\1/p' "$GATEWAY"; } # never an argument: it goes through pipes alone
expect 'length of the secret' 64 "$(secret | tr -d '\n' | wc -c)"
expect 'the secret of the coordinator' 'the same' \
    "$(if grep -qF -f <(secret) "$CONFIG_DIR/coordinator.toml"; then echo the same; else echo another; fi)"

nowhere() { # WHAT FOUND
    if [ -z "$2" ]; then good "the secret is not in $1"; else bad "the secret is in $1: $2"; fi
}
in_arguments() {
    local process
    for process in /proc/[0-9]*; do
        ! tr '\0' ' ' 2>/dev/null <"$process/cmdline" | grep -qF -f <(secret) || echo "$process"
    done
}
in_journal() {
    journalctl --no-pager --quiet --output=cat 2>/dev/null | grep -cF -f <(secret) | grep -vx 0
}
in_files() { # those that all can read
    find /etc /home /opt /run /srv /tmp /usr/local /var -xdev \( -name target -o -path /opt/twolane \) -prune -o \
        -type f -perm -o=r -size -4096k -print0 2>/dev/null | xargs -0 -r grep -lsF -f <(secret)
}
nowhere 'any list of arguments' "$(in_arguments)"
if [ -n "$(journalctl --no-pager --lines=1 --quiet --unit=mvm-hostd 2>/dev/null)" ]; then
    nowhere 'the journal' "$(in_journal)"
else
    bad "$(id -un) cannot read the journal"
fi
nowhere 'any file that all can read' "$(in_files)"

if [ "$bad" = 0 ]; then echo 'the smoke test passed'; else echo 'the smoke test failed'; fi
exit "$bad"
