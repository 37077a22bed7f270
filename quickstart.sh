#!/usr/bin/env bash
# From a fresh clone to the main job: sets up what is missing, builds twolane, and runs both lanes of samples/mvm,
# each in a VM of its own on this machine. Arguments go to `twolane run`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
. ops/setup.sh

say "Looking for what is missing on this machine"
setup_machine
setup_rust

# Not in release mode: that takes three times as long to build, and what takes time in a run is the VMs.
say "Building twolane (one to three minutes the first time)"
cargo build --locked -p twolane
twolane="$(realpath "${CARGO_TARGET_DIR:-target}")/debug/twolane"

say "Running both lanes of samples/mvm: $twolane run"
cd samples/mvm
exec "$twolane" run "$@"
