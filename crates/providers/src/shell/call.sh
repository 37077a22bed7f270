# shellcheck shell=bash
# Runs one function of an adapter: FILE FUNCTION [ARGUMENT...]. It is given to `bash -c` as it stands.
# Standard input is a pipe that twolane holds, and that ends with twolane: nothing of this call may go on then.
exec 3<&0 </dev/null
( { read -r _ <&3 || kill -KILL 0; } >/dev/null 2>&1 & )
exec 3<&-
# shellcheck source=/dev/null
. "$1"
"${@:2}"
