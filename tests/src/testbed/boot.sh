#!/bin/sh
# Runs one host until it powers off. A reboot ends systemd-nspawn with 133: the host is started again.
# usage: boot.sh MACHINE ROOT BRIDGE CGROUP...    each CGROUP holds the groups `loop` and `machine`
set -u
machine=$1 root=$2 bridge=$3
shift 3

enter() {
    leaf=$1
    shift
    for group; do
        echo 0 > "$group/$leaf/cgroup.procs" || return 1
    done
}

# Whoever starts this waits for the group to be entered, not for the host to end.
enter loop "$@" || exit 1
{
    status=133
    while [ "$status" -eq 133 ]; do
        (
            enter machine "$@" || exit 1
            exec systemd-nspawn --quiet --boot --register=no --keep-unit --machine="$machine" --directory="$root" \
                --network-bridge="$bridge" --capability=CAP_NET_ADMIN --resolv-conf=off --link-journal=no \
                --timezone=off
        )
        status=$?
    done
} &
