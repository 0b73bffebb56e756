#!/bin/sh
# usage: node.sh COMMAND…
# Runs the command where there is a Node that can (20 or later). Elsewhere it says what to do and succeeds,
# and fails where CI=true.
set -eu
if command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then
    exec "$@"
fi
echo "WARNING: no Node 20 or later with npm ($(node --version 2>&1 || true)); not run: $*" >&2
[ "${CI:-}" != true ]
