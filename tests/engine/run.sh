#!/usr/bin/env bash
# Runs compose.yaml and the docker commands of the docs with a Docker engine, as root on a Debian machine that has none.
# Prints a line for each step, then what pytest says.
#
# ENGINE_CACHE     where the engine, its images and a base system are kept between runs
set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/tests/engine
cache=${ENGINE_CACHE:-/var/cache/email-service-engine}
log=$cache/log
release=trixie
# The base of the Dockerfile under both names that the docs give it; the servers of compose.yaml, and a machine with systemd.
bases=(python:3.13-slim-bookworm python:3.12-slim-bookworm)
stand_ins=(postgres:17 redis:7 rabbitmq:4 machine:latest)

[ "$(id -u)" = 0 ] || { echo "engine: run this as root; it starts a Docker engine." >&2; exit 1; }
if [ -S /var/run/docker.sock ]; then
    echo "engine: this machine has a Docker engine. The tests start one of their own and take its networks and port 8000;" \
        "run them on a machine without one." >&2
    exit 1
fi
install -d -m 0700 "$cache"
# shellcheck source=tests/steps.sh
. "$root/tests/steps.sh"

install_tools() {
    need debootstrap=debootstrap iproute2=ip iptables=iptables runc=runc
}

# The newest engine that Debian has, with compose and buildx, and kubectl; runc alone has to be of this release. Verified and
# fetched by apt from the mirror that this machine uses, and unpacked without being installed.
fetch_engine() {
    [ -x "$cache/engine/usr/sbin/dockerd" ] && return 0
    local apt=$cache/apt mirror
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' | head -n 1)
    rm -rf "$apt" "$cache/engine.partial"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/debs"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] ${mirror%/} $release main" >"$apt/sources.list"
    local options=(-qq -o "Dir::Etc::SourceList=$apt/sources.list" -o Dir::Etc::SourceParts=- -o "Dir::State::Lists=$apt/lists"
        -o "Dir::Cache=$apt/cache" -o Dir::State::Status=/dev/null -o APT::Sandbox::User=)
    apt-get "${options[@]}" update
    (cd "$apt/debs" && apt-get "${options[@]}" download docker.io docker-cli docker-compose docker-buildx containerd kubectl)
    for package in "$apt"/debs/*.deb; do
        dpkg-deb --extract "$package" "$cache/engine.partial"
    done
    mv "$cache/engine.partial" "$cache/engine"
    rm -r "$apt"
}

# An engine with its own folders and socket. What it changes of the machine's network is put back when it ends.
start_engine() {
    mkdir -p "$cache/client/cli-plugins"
    ln -sf "$cache"/engine/usr/libexec/docker/cli-plugins/* "$cache/client/cli-plugins/"
    iptables-save >"$cache/rules"
    cat /proc/sys/net/ipv4/ip_forward >"$cache/forwarding"
    echo "{}" >"$cache/engine.json"  # not the settings of another one
    dockerd --data-root "$cache/data" --exec-root "$cache/exec" --pidfile "$cache/pid" --host "$DOCKER_HOST" \
        --config-file "$cache/engine.json" >"$cache/engine.log" 2>&1 &
    for _ in $(seq 300); do
        docker version && return 0
        kill -0 $! || { tail -n 20 "$cache/engine.log"; return 1; }
        sleep 0.2
    done
    return 1
}

stop_engine() {
    [ -e "$cache/pid" ] || return 0
    kill "$(cat "$cache/pid")"
    while [ -e "$cache/pid" ]; do sleep 0.2; done
    ip link delete docker0
    iptables-restore <"$cache/rules"
    cat "$cache/forwarding" >/proc/sys/net/ipv4/ip_forward
}

# No registry is asked. A Debian stands in for the image of Python, and on it Debian's packages for those of the servers.
make_bases() {
    if ! docker image inspect "${bases[0]}"; then
        if [ ! -d "$cache/rootfs" ]; then
            rm -rf "$cache/rootfs.partial"
            debootstrap --variant=minbase --include=python3,python3-venv,ca-certificates "$release" "$cache/rootfs.partial"
            rm -rf "$cache"/rootfs.partial/var/cache/apt/archives/*.deb "$cache"/rootfs.partial/var/lib/apt/lists/*
            # Whom this machine trusts, its containers trust, too: it may reach packages through a proxy.
            cp /etc/ssl/certs/ca-certificates.crt "$cache/rootfs.partial/etc/ssl/certs/ca-certificates.crt"
            mv "$cache/rootfs.partial" "$cache/rootfs"
        fi
        tar -C "$cache/rootfs" -c . | docker import - "${bases[0]}"
    fi
    for name in "${bases[@]:1}"; do
        docker tag "${bases[0]}" "$name"
    done
}

make_stand_ins() {
    for name in "${stand_ins[@]}"; do
        docker build --build-arg "BASE_IMAGE=${bases[0]}" --file "$here/stand_ins/${name%:*}.Dockerfile" --tag "$name" \
            "$here/stand_ins"
    done
}

step "debootstrap, iptables and runc are installed" install_tools
step "a Docker engine is there" fetch_engine
export DOCKER_HOST=unix://$cache/socket DOCKER_CONFIG=$cache/client PATH=$cache/engine/usr/sbin:$cache/engine/usr/bin:$PATH
trap stop_engine EXIT
step "the engine runs" start_engine
step "the base image is there" make_bases
step "the images of PostgreSQL, Redis, RabbitMQ and a machine with systemd are there" make_stand_ins

cd "$root"
TEST_APART=1 .venv/bin/python -m pytest tests/engine "$@"
