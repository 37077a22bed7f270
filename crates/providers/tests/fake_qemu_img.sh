#!/bin/sh
# Stands in for qemu-img create: makes the overlay that it is asked for, on a base that must be there.
while [ $# -gt 0 ]; do
    case $1 in
    -b) base=$2; shift 2 ;;
    *.qcow2) overlay=$1; shift ;;
    *) shift ;;
    esac
done
[ -e "$base" ] || { echo "qemu-img: could not open '$base'" >&2; exit 1; }
echo "backed by $base" >"$overlay"
