#!/bin/bash
# Brings a box up and deploys to it: a thin front of `twolane up`, for fingers that know the old one.
#
#   PROVIDER=local bash ops/ephemeral/up.sh
#   PROVIDER=gcp REGION=… INSTANCE_TYPE=… LABEL=… BOOT_DISK_SIZE=… SSH_PUBKEY=… bash ops/ephemeral/up.sh
#
# LANE is the lane whose box it is (live-kvm), PROJECT the directory of its twolane.toml (this one; in twolane's own
# repository samples/mvmd), TWOLANE the program. twolane itself reads none of these variables.
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=ops/ephemeral/front.sh
. "$repository/ops/ephemeral/front.sh"

find_twolane
find_project
LABEL=${LABEL:-mvm-live-$(printf '%04x' "$((RANDOM * 2 + RANDOM % 2))")}
options=(--label "$LABEL")
[ -z "${PROVIDER:-}" ] || options+=(--provider "$PROVIDER")
[ -z "${REGION:-}" ] || options+=(--region "$REGION")
[ -z "${INSTANCE_TYPE:-}" ] || options+=(--instance-type "$INSTANCE_TYPE")
[ -z "${BOOT_DISK_SIZE:-}" ] || options+=(--disk "$BOOT_DISK_SIZE")
[ -z "${SSH_PUBKEY:-}" ] || options+=(--ssh-pubkey "$SSH_PUBKEY")
"$twolane" -C "$project" up "${LANE:-live-kvm}" "${options[@]}"

address=$("$twolane" -C "$project" --json ls | python3 -c '
import json, sys
print(next(box["address"] for box in json.load(sys.stdin) if box["label"] == sys.argv[1]))' "$LABEL")
host=${address%:*} port=${address##*:}
host=${host#[} host=${host%]}
if [ -n "${SSH_PUBKEY:-}" ]; then
    ssh="ssh -p $port mvm@$host"
else
    ssh="$twolane ssh $LABEL"
fi
cat <<LINES

Go on with:
  $ssh 'bash ~/smoke-mvmd.sh'
  $ssh 'bash ~/run-tests.sh --continue'
  LABEL=$LABEL bash $repository/ops/ephemeral/down.sh
LINES
