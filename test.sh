#!/usr/bin/env bash
# From a fresh clone to all tests run: sets up what is missing, then goes through the phases below. A phase that fails
# does not keep the later ones from running; the last line says how it ended.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ops/setup.sh

ADVISORIES=https://github.com/RustSec/advisory-db

format() {
    cargo fmt --all --check
    # It does not see modules that a macro declares, as those of the clouds.
    git ls-files -z -- 'crates/*.rs' | xargs -0 rustfmt --edition 2024 --check
}

lints() { cargo clippy --locked --workspace --all-targets -- -D warnings; }

tests() { cargo nextest run --locked --workspace; }

dependencies() {
    cargo fetch --locked --quiet
    local snapshot
    snapshot=$(compgen -G '../shared/advisory-db-*.tar.xz' | sort | tail -n 1 || true)
    if [ -n "$snapshot" ]; then
        say "advisories: the snapshot $snapshot"
        unpack_advisories "$snapshot"
        cargo deny --offline check
        cargo audit --no-fetch --stale --db "$advisory_db"
    elif GIT_TERMINAL_PROMPT=0 timeout 30 git ls-remote --exit-code "$ADVISORIES" HEAD >/dev/null 2>&1; then
        cargo deny check
        cargo audit
    else
        say "WARNING: advisories are NOT checked: $ADVISORIES can not be reached, and there is no snapshot"
        cargo deny --offline check bans licenses sources
    fi
}

# Lays a snapshot where cargo-deny looks for its clone: a git repository, as old as the snapshot.
unpack_advisories() {
    advisory_db=target/advisory-dbs/advisory-db-3157b0e258782691
    local day
    day=$(basename "$1" .tar.xz)
    day=${day#advisory-db-}
    rm -rf "$advisory_db"
    mkdir -p "$advisory_db"
    tar -xJf "$1" -C "$advisory_db"
    git -C "$advisory_db" init --quiet
    git -C "$advisory_db" add --all
    GIT_COMMITTER_DATE="${day}T00:00:00Z" git -C "$advisory_db" -c user.name=snapshot -c user.email=snapshot@localhost \
        -c commit.gpgsign=false commit --quiet --message "Snapshot of $day"
    # Where a clone would have it, and where the age is read from.
    touch --date="$day" "$advisory_db/.git/FETCH_HEAD"
}

imports() { ops/check-imports; }

words() { ops/check-words.sh; }

scripts() {
    local -a files
    mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*.sh' .ci/run)
    say "${#files[@]} scripts"
    shellcheck "${files[@]}"
}

samples() {
    local sample
    for sample in samples/mvm samples/mvmd; do (one_sample "$sample"); done
}

one_sample() {
    cd "$1"
    cargo fmt --all --check
    cargo clippy --locked --offline --workspace --all-targets -- -D warnings
    cargo test --locked --offline --workspace
    cargo deny --offline check bans licenses sources
}

# What it warns of is an error too.
book() {
    local said
    said=$(mdbook build 2>&1) || said+=" ERROR"
    say "$said"
    [[ ! $said =~ (WARN|ERROR) ]]
}

simulation() {
    local seeds=(cargo run --locked --quiet --profile simulation -p sim --bin seeds --)
    "${seeds[@]}" 0 20000
    "${seeds[@]}" runner 0 2000
    "${seeds[@]}" bugs
    "${seeds[@]}" crashes
}

# The .deb of the program that the tests were run with, installed where nothing else is.
package() {
    packaging/deb.sh target/debug/twolane
    local deb release
    deb=$(compgen -G 'target/debian/*.deb')
    # The program is linked to this machine's C library: an older release would not take it.
    release=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME" || echo trixie)
    mmdebstrap --quiet --variant=apt "$release" /dev/null "$DEBIAN_MIRROR" \
        --customize-hook="copy-in $deb /root" \
        --customize-hook="chroot \"\$1\" apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends /root/${deb##*/}" \
        --customize-hook='copy-in packaging/first-steps.sh /root' \
        --customize-hook='chroot "$1" bash /root/first-steps.sh'
}

end_to_end() { cargo nextest run --locked --workspace --profile e2e; }

failed=()
summary=()

# phase NAME FUNCTION
phase() {
    local start=$SECONDS code word=passed
    printf '\n== %s\n' "$1"
    # Not in a condition: there the shell would go on after a command that fails.
    set +e
    (set -e && "$2")
    code=$?
    set -e
    if [ "$code" != 0 ]; then
        word=FAILED
        failed+=("$1")
    fi
    summary+=("$(printf '%-14s %-7s %5d s' "$1" "$word" $((SECONDS - start)))")
    say "-- $1 $word in $((SECONDS - start)) s"
}

say "Looking for what is missing on this machine"
setup_machine
setup_test_packages
setup_rust
setup_test_tools
summary+=("$(printf '%-14s %-7s %5d s' set-up "done" "$SECONDS")")

phase format format
phase lints lints
phase scripts scripts
phase imports imports
phase words words
phase dependencies dependencies
phase samples samples
phase tests tests
phase book book
phase simulation simulation
phase package package
phase "end to end" end_to_end

printf '\n'
printf '%s\n' "${summary[@]}"
if [ ${#failed[@]} -gt 0 ]; then
    say "test.sh: failed in $SECONDS s: ${failed[*]}"
    exit 1
fi
say "test.sh: all phases passed in $SECONDS s"
