#!/bin/sh
# usage: need.sh COMMAND DEBIAN_PACKAGE
# Installs the package where the command is missing and that is possible (root on Debian). Elsewhere it says
# what to do and succeeds: the tests that need the part skip loudly, and fail where CI=true.
set -eu
command=$1 package=$2
if command -v "$command" >/dev/null; then
    exit 0
fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "$command is missing: installing Debian's $package …"
    exec 9<"$0" && flock 9 # apt-get does not wait for another one
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$package"
else
    echo "WARNING: $command is missing; tests that need it will not run. On Debian: apt-get install -y $package" >&2
fi
