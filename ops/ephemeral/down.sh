#!/bin/bash
# Destroys a box and confirms that it is gone: a thin front of `twolane down`.
#
#   LABEL=… bash ops/ephemeral/down.sh      that box
#   bash ops/ephemeral/down.sh              every box that was made from this machine
set -euo pipefail
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=ops/ephemeral/front.sh
. "$repository/ops/ephemeral/front.sh"

find_twolane
if [ -n "${LABEL:-}" ]; then
    exec "$twolane" down "$LABEL"
fi
exec "$twolane" down --all
