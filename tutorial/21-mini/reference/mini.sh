#!/bin/sh
# mini run DIR COMMAND…: the command, with DIR for its root directory, in namespaces of its own.
# mini merge LAYER.tar… OUT: the files of the layers, the lowest first, in directory OUT.
# With commands of Debian: util-linux, GNU tar, coreutils and findutils; and hostname, ip and
# umount in DIR.
set -eu
self=$(realpath "$0")

# status PID: waits for the end of a child, and ends with its status. A trap ends `wait` early;
# then there is more to wait for.
status() {
    while :; do
        again='' s=0
        wait "$1" || s=$?
        [ "$again" ] || exit "$s"
    done
}

# stage 2 and 5: new namespaces, and in the user namespace the caller's id is 0.
# stage 3: unshare forks after that, so its child is process 1 of the new pid namespace.
# stage 1: unshare ends as its child does; it ignores SIGTERM, so its child gets that.
run() {
    # stage 8: what nobody has handed over on purpose stays here. (dash knows 0 to 9 alone.)
    exec 3<&- 4<&- 5<&- 6<&- 7<&- 8<&- 9<&-
    exec 3<&0 # what runs in the background has no standard input else
    dir=$(realpath "$1")
    shift
    cd /
    unshare --user --map-root-user --mount --pid --net --uts --ipc --fork --kill-child \
        "$self" init "$dir" "$@" <&3 3<&- &
    child=$!
    trap 'again=1; kill -TERM $(cat /proc/$child/task/$child/children)' TERM
    status "$child"
}

# stage 7: process 1 is this shell. `wait` waits for every child, orphans too; and when the shell
# ends, the kernel ends the rest.
# stage 6: the command begins as a shell without the capabilities, which says that it has been
# loaded, since its libraries are not in DIR, and waits until the tree is there.
init() {
    dir=$1 loaded=$(mktemp -u)
    shift
    mkfifo "$loaded"
    exec 3<&0
    tree "$dir" "$loaded" | setpriv --no-new-privs --inh-caps=-all --bounding-set="$(bounding)" \
        sh -c 'echo >"$0"; read -r ready && cd / && exec "$@" <&3 3<&-' "$loaded" "$@" &
    child=$!
    exec 3<&-
    trap 'again=1; kill -TERM $child' TERM
    status "$child"
}

# bounding is the set of docker.
bounding() {
    printf %s -all
    for c in chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw \
        sys_chroot mknod audit_write setfcap; do
        printf %s ",+$c"
    done
}

# stage 4: DIR becomes the root of all in this mount namespace, and what was it is unmounted.
tree() {
    exec 3<&-
    read -r _ <"$2"
    rm "$2"
    "$1/bin/hostname" mini
    "$1/bin/ip" link set lo up
    mount --bind "$1" "$1"
    cd "$1"
    mount -t proc proc proc
    pivot_root . .
    PATH=/bin umount -l .
    echo ready
}

# stage 9: each layer is unpacked by itself, and put over what there is.
merge() {
    for out; do :; done
    while [ $# -gt 1 ]; do
        new=$(mktemp -d "$out.XXXXXX")
        tar -x -p -f "$1" -C "$new"
        whiteouts "$new" "$out"
        explicit=$(tar -t -f "$1" | sed -n 's,/$,,p')
        over "$new" "$out" "$explicit"
        rm -rf "$new"
        shift
    done
}

# whiteouts NEW OUT: they hide what is below, and nothing of NEW.
whiteouts() {
    (cd "$1" && find . -name '.wh.*') | while read -r w; do
        at=$2/${w%/*} name=${w##*/.wh.}
        if [ "$name" = .wh..opq ]; then
            if [ -d "$at" ] && [ ! -L "$at" ]; then find "$at" -mindepth 1 -delete; fi
        else
            rm -rf "${at:?}/$name"
        fi
        rm "$1/$w"
    done
}

# over NEW OUT EXPLICIT: a directory is merged, all else replaces what is there. EXPLICIT are the
# directories that have an entry in the tarball: others keep their mode.
over() {
    (cd "$1" && find . -mindepth 1 -type d) | while read -r d; do
        if [ ! -d "$2/$d" ] || [ -L "$2/$d" ]; then
            rm -rf "${2:?}/$d"
            mkdir "$2/$d"
        fi
        if printf '%s\n' "$3" | grep -qxF "${d#./}"; then chmod --reference="$1/$d" "$2/$d"; fi
    done
    (cd "$1" && find . -mindepth 1 ! -type d) | while read -r f; do
        rm -rf "${2:?}/$f"
        ln -P "$1/$f" "$2/$f" # so that two names of a file stay two names
    done
}

"$@"
