#!/usr/bin/env bash
# Builds the .deb of a program that is built already: pages and completions from the program itself, then cargo-deb.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${1:-target/release/twolane}
rm -rf target/package target/debian
mkdir -p target/package/{bin,completions,man}
strip -o target/package/bin/twolane "$program"
# By name, as it is installed, so that the completions call it by name.
PATH=$PWD/target/package/bin:$PATH
twolane man --dir target/package/man
twolane completions bash >target/package/completions/twolane.bash
twolane completions zsh >target/package/completions/_twolane
twolane completions fish >target/package/completions/twolane.fish
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"/\1/p' crates/twolane/Cargo.toml)
day=$(date --utc --rfc-email --date="@$(git log -1 --format=%ct 2>/dev/null || date +%s)")
printf 'twolane (%s-1) unstable; urgency=medium\n\n  * Release %s: see changelog.gz.\n\n -- %s  %s\n' \
    "$version" "$version" "$maintainer" "$day" >target/package/changelog.Debian
# cargo-deb warns of each file that cargo does not build; errors are shown.
cargo deb --quiet --package twolane --no-build --no-strip
