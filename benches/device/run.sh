#!/bin/sh
# Measures this machine's GPU: run [--seconds N] [--slow] [--only PART,...] [--out FILE]. The result is device.json in the current folder.
set -e
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 143' INT TERM
tar xzf "$here/bundle.tar.gz" -C "$work"
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$work}"
"$work/bench_device" "$@"
