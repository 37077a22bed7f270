#!/bin/sh
# Installs a release of twolane: fetches one archive, verifies its SHA-256, and copies the program, its manual pages and its
# completions to PREFIX (~/.local). TWOLANE_VERSION chooses the release, TWOLANE_URL another place to fetch it from.
set -eu

version=${TWOLANE_VERSION:-latest}
prefix=${PREFIX:-$HOME/.local}
releases=https://github.com/twolane/twolane/releases

fail() {
    printf 'error: %s\n  help: %s\n' "$1" "$2" >&2
    exit 1
}

need() { command -v "$1" >/dev/null 2>&1 || fail "could not find $1" "install $2, then run this again"; }

need curl curl
need tar tar
need sha256sum coreutils

case $(uname -s)-$(uname -m) in
Linux-x86_64) target=x86_64-unknown-linux-musl ;;
Linux-aarch64 | Linux-arm64) target=aarch64-unknown-linux-musl ;;
*) fail "no release for $(uname -s) on $(uname -m)" "build it: cargo install --git https://github.com/twolane/twolane twolane --locked" ;;
esac

case $version in
latest) url=$releases/latest/download ;;
*) url=$releases/download/v${version#v} ;;
esac
url=${TWOLANE_URL:-$url}
archive=twolane-$target.tar.gz

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

fetch() {
    curl --proto '=https,file' --tlsv1.2 -fsSL --retry 3 -o "$work/$1" "$url/$1" ||
        fail "could not fetch $url/$1" "check the version and the network, then run this again"
}
fetch SHA256SUMS
fetch "$archive"

# Exactly one line of the list has to be about this archive.
line=$(awk -v name="$archive" '$2 == name || $2 == "*" name' "$work/SHA256SUMS")
[ "$(printf '%s\n' "$line" | grep -c .)" = 1 ] ||
    fail "SHA256SUMS has no single line for $archive" "report it: the release is incomplete"
(cd "$work" && printf '%s\n' "$line" | sha256sum -c - >/dev/null 2>&1) ||
    fail "the checksum of $archive is wrong: nothing was installed" "run this again; if it stays wrong, report it"

mkdir "$work/unpacked"
tar -xzf "$work/$archive" -C "$work/unpacked" --strip-components 1
program=$work/unpacked/twolane
"$program" --version >/dev/null || fail "the program does not run on this machine" "build it from source instead"

mkdir -p "$prefix/bin" "$prefix/share/man/man1" "$prefix/share/bash-completion/completions" \
    "$prefix/share/zsh/site-functions" "$prefix/share/fish/vendor_completions.d"
# By rename: a running twolane keeps its own file.
cp "$program" "$prefix/bin/.twolane.new"
chmod 755 "$prefix/bin/.twolane.new"
mv -f "$prefix/bin/.twolane.new" "$prefix/bin/twolane"
twolane=$prefix/bin/twolane
"$twolane" man --dir "$prefix/share/man/man1"
PATH=$prefix/bin:$PATH "$twolane" completions bash >"$prefix/share/bash-completion/completions/twolane"
PATH=$prefix/bin:$PATH "$twolane" completions zsh >"$prefix/share/zsh/site-functions/_twolane"
PATH=$prefix/bin:$PATH "$twolane" completions fish >"$prefix/share/fish/vendor_completions.d/twolane.fish"

printf 'installed %s to %s\n' "$("$twolane" --version)" "$twolane"
case :$PATH: in
*:"$prefix/bin":*) ;;
*) printf 'note: %s is not in PATH\n' "$prefix/bin" ;;
esac
printf 'next: twolane doctor\n'
