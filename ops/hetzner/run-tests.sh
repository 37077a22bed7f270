#!/bin/bash
# Copies sources to a box that is there and runs the cheap checks in the first of them, without twolane:
#
#   bash ops/hetzner/run-tests.sh [--continue] ADDRESS SOURCE…
#
# A source in a git checkout goes along as git would carry it. Host keys are ssh's own business here: twolane makes and
# pins one for each box. Exit status: 0 all passed, 1 a check failed, 2 wrong usage.
set -euo pipefail

continued=''
if [ "${1:-}" = --continue ]; then continued=1 && shift; fi
if (($# < 2)); then
    echo 'usage: run-tests.sh [--continue] ADDRESS SOURCE…' >&2
    exit 2
fi
box=mvm@$1
shift
for source in "$@"; do
    [ -d "$source" ] || { echo "error: there is no directory $source" >&2 && exit 2; }
done

ssh "$box" 'cloud-init status --wait >/dev/null 2>&1; mkdir -p src'
for source in "$@"; do
    name=$(basename "$(realpath "$source")")
    if git -C "$source" rev-parse --git-dir >/dev/null 2>&1; then
        git -C "$source" ls-files -z --cached --others --exclude-standard |
            rsync -a --from0 --files-from=- --ignore-missing-args "$source/" "$box:src/$name/"
    else
        rsync -a --delete --exclude=/target "$source/" "$box:src/$name/"
    fi
done

first=$(basename "$(realpath "$1")")
failed=0
for check in 'cargo fmt --all --check' 'cargo clippy --workspace --all-targets -- -D warnings' 'cargo test --workspace'; do
    echo "== $check"
    # shellcheck disable=SC2029 # quoted here for the shell over there
    if ssh "$box" "cd src/$(printf %q "$first") && $check" </dev/null; then
        echo 'passed'
    else
        echo 'failed' && failed=1
        [ -n "$continued" ] || break
    fi
done
exit "$failed"
