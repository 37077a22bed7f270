#!/usr/bin/env bash
# What a stranger does first, on a machine that has nothing but the package: run as root there.
set -euo pipefail
export HOME=/root
mkdir /root/demo
cd /root/demo

# expect CODE TEXT COMMAND… — runs it, and looks at its exit code and for what it says.
expect() {
    local code=$1 text=$2 said found=0
    shift 2
    said=$("$@" 2>&1) || found=$?
    if [ "$found" != "$code" ] || [[ $said != *"$text"* ]]; then
        printf '%s\n' "$said" "\`$*\` ended with $found; expected $code and: $text" >&2
        exit 1
    fi
}

expect 0 "twolane 0." twolane --version
expect 2 "could not find a Rust workspace" twolane init
mkdir src
touch src/lib.rs
printf '[package]\nname = "demo"\nversion = "0.1.0"\nedition = "2024"\n' >Cargo.toml
expect 0 "next: twolane plan" twolane init
expect 0 "free" twolane plan
# Neither QEMU nor Rust is there: it says what to install.
expect 3 "apt-get install --no-install-recommends qemu-system-x86" twolane doctor
expect 3 "rustc" twolane doctor
[ -e /usr/share/man/man1/twolane-run.1.gz ]
[ -e /usr/share/bash-completion/completions/twolane ]
echo "the package brings a program that runs, and says what it needs"
