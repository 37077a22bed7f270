#!/bin/bash
# Runs the checks of a box's lane again, on the box and without twolane: `bash ~/run-tests.sh [--continue] [CHECK…]`.
# The checks stand in checks.env, written from twolane.toml. Stops at the first that fails, unless reported to continue.
#
# Exit status: 0 all passed, 1 a check failed, 2 wrong usage.
set -uo pipefail

LIB=${TWOLANE_LIB:-/usr/local/lib/twolane}
CHECKS=0 CHECKS_DIR=$HOME
# shellcheck source=/dev/null
. "$LIB/checks.env" || exit 2

unmet() { # NEED…: prints why the first unmet need is not met
    local need
    for need in "$@"; do
        case $need in
        program:*) command -v "${need#*:}" >/dev/null || { echo "${need#*:} is not installed" && return; } ;;
        file:*) [ -e "${need#*:}" ] || { echo "there is no ${need#*:}" && return; } ;;
        advisory-db)
            [ -n "$(find "$HOME/.cargo/advisory-db" "$HOME/.cargo/advisory-dbs" -maxdepth 1 -print -quit 2>/dev/null)" ] ||
                { echo 'the advisory database is not on this box' && return; }
            ;;
        esac
    done
}

continued='' wanted=()
for argument in "$@"; do
    case $argument in
    --continue) continued=1 ;;
    -*) echo 'usage: run-tests.sh [--continue] [CHECK…]' >&2 && exit 2 ;;
    *) wanted+=("$argument") ;;
    esac
done
is_wanted() { # NAME
    local name
    ((${#wanted[@]} > 0)) || return 0
    for name in "${wanted[@]}"; do [ "$name" != "$1" ] || return 0; done
    return 1
}

cd "$CHECKS_DIR" || exit 2
export CI=true PATH="$HOME/.cargo/bin:$PATH"
found=0 failed=0 table=''
for ((index = 1; index <= CHECKS; index++)); do
    declare -n name="CHECK_${index}_NAME" run="CHECK_${index}_RUN" limit="CHECK_${index}_SECONDS" needs="CHECK_${index}_NEEDS"
    declare -n user="CHECK_${index}_USER" settings="CHECK_${index}_ENV" from="CHECK_${index}_FROM"
    is_wanted "$name" || continue
    found=1
    mapfile -t words < <([ -z "$needs" ] || printf '%s\n' "$needs")
    why=$(unmet "${words[@]}")
    [ "${user:-}" != root ] || [ "$(id -u)" = 0 ] || why='only root can run it'
    if [ -n "$why" ]; then
        table+="skipped  $name: $why"$'\n'
        continue
    fi
    for variable in ${from:-}; do
        [ -n "${!variable+set}" ] || { echo "set $variable first: $name gets it from the operator's environment" >&2 && exit 2; }
    done
    echo "== $name"
    began=$SECONDS code=0
    timeout --kill-after=10 "$limit" bash -lc "${settings:-}$run" </dev/null || code=$?
    case $code in
    0) how='passed ' ;;
    124 | 137) how='timeout' ;;
    *) how='failed ' ;;
    esac
    table+="$how  $name, $((SECONDS - began)) s"$'\n'
    [ "$code" = 0 ] || failed=1
    [ "$code" = 0 ] || [ -n "$continued" ] || break
done
if [ "$found" = 0 ]; then
    echo 'there is no such check; there are:' >&2
    for ((index = 1; index <= CHECKS; index++)); do
        declare -n name="CHECK_${index}_NAME"
        echo "  $name" >&2
    done
    exit 2
fi
printf '\n%s' "$table"
exit "$failed"
