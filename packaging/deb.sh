#!/usr/bin/env bash
# Builds the .deb: pages and completions from the program itself, then cargo-deb. The program has to be built already.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${1:-target/release/twolane}
rm -rf target/package
mkdir -p target/package/man target/package/completions
"$program" man --dir target/package/man
# Named as it is installed, so that the scripts call it by name.
mkdir target/package/bin
ln -s "$(realpath "$program")" target/package/bin/twolane
PATH=$PWD/target/package/bin:$PATH
twolane completions bash >target/package/completions/twolane.bash
twolane completions zsh >target/package/completions/_twolane
twolane completions fish >target/package/completions/twolane.fish
cargo deb --package twolane --no-build --no-strip
