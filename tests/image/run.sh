#!/usr/bin/env bash
# Builds the image, runs it, and runs journeys of the tests with it, as root on a Debian machine without any container engine.
# Prints a line for each step, then what pytest says of the journeys. `make image-test` makes ready what those need.
#
# IMAGE_CACHE      where the base system and the image's layers are kept between runs
# STORAGE_DRIVER   overlay, or vfs where overlay file systems cannot be mounted (larger and slower)
# TEST_DATABASE_URL, TEST_REDIS_URL   servers to use instead of those on 127.0.0.1
set -euo pipefail
umask 022

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${IMAGE_CACHE:-/var/cache/email-service-image}
base=localhost/email-service-base:bookworm
image=localhost/email-service:test
log=$cache/log
journeys=(test_monitoring.py test_observation.py test_figures_apart.py test_distribution.py test_shutdown.py)

[ "$(id -u)" = 0 ] || { echo "image: run this as root; it makes a base system and starts containers." >&2; exit 1; }
install -d -m 0700 "$cache"

# shellcheck source=tests/steps.sh
. "$root/tests/steps.sh"

install_tools() {
    need buildah=buildah podman=podman debootstrap=debootstrap runc=runc
}

# Own settings for buildah and podman, so that neither the machine's containers nor its settings take part. runc works with
# every version of cgroups; the limits are below those that podman asks for, which not every machine may grant.
configure_tools() {
    printf '[storage]\ndriver = "%s"\ngraphroot = "%s/storage"\nrunroot = "%s/run"\n' \
        "${STORAGE_DRIVER:-overlay}" "$cache" "$cache" >"$cache/storage.conf"
    printf '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\nruntime = "runc"\n%s\n' \
        $'cgroup_manager = "cgroupfs"\nevents_logger = "none"' >"$cache/containers.conf"
    export CONTAINERS_STORAGE_CONF=$cache/storage.conf CONTAINERS_CONF=$cache/containers.conf
    # The steps of a build need a changed root only, no container.
    export BUILDAH_ISOLATION=${BUILDAH_ISOLATION:-chroot}
    unset STORAGE_DRIVER
}

make_base() {
    buildah inspect --type image "$base" >/dev/null 2>&1 && return 0
    local container
    if [ ! -d "$cache/rootfs" ]; then
        rm -rf "$cache/rootfs.partial"
        debootstrap --variant=minbase --include=python3,python3-venv bookworm "$cache/rootfs.partial"
        rm -rf "$cache"/rootfs.partial/var/cache/apt/archives/*.deb "$cache"/rootfs.partial/var/lib/apt/lists/*
        mv "$cache/rootfs.partial" "$cache/rootfs"
    fi
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$cache/rootfs" /
    buildah commit --quiet --format docker "$container" "$base"
    buildah rm "$container"
}

build_image() {
    local mounts
    mapfile -t mounts < <(python3 "$root/tests/image/pip_settings.py" "$cache/pip.conf")
    # The docker format is the one that knows health checks.
    buildah bud --format docker --build-arg "BASE_IMAGE=$base" --secret "id=pip,src=$cache/pip.conf" "${mounts[@]}" \
        --tag "$image" "$root"
    rm "$cache/pip.conf"
    # What this build replaced.
    buildah rmi --prune
}

step "buildah, podman, debootstrap and runc are installed" install_tools
configure_tools
step "the base image is there" make_base
step "the image is built" build_image

# Containers that a killed run left, this one's own included; the storage has no others.
trap 'podman rm --force --all --time 0 >"$log" 2>&1' EXIT
status=0
python3 "$root/tests/image/journey.py" "$image" "$base" || status=1
# The same journeys as everywhere, with containers in the place of processes.
cd "$root"
TEST_IMAGE=$image .venv/bin/python -m pytest "${journeys[@]/#/tests/journeys/}" "$@" || status=1
exit $status
