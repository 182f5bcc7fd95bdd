pid=$(tiffin inspect --format '{{.State.Pid}}' "$DESK" 2>/dev/null) || pid=0
desk_ipc=$(readlink "/proc/$pid/ns/ipc" 2>/dev/null) || desk_ipc=none
desk_uts=$(readlink "/proc/$pid/ns/uts" 2>/dev/null) || desk_uts=none
gone=
if [ "$desk_ipc" = none ]; then gone="The container $DESK does not run: tiffin lab reset makes it anew."; fi
# Its namespaces are looked at with programs of the check's own: those in the container may say
# anything. A new mount of mqueue shows the queues of the namespace in which it is made.
t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT
tiffin __userland >"$t/mount"
chmod 755 "$t/mount"
mkdir "$t/queues"
queues=$(if [ -z "$gone" ]; then
    tiffin enter -U -i -t "$pid" tiffin unshare -m sh -c '"$1/mount" -t mqueue none "$1/queues" && ls "$1/queues"' sh "$t" 2>/dev/null | sort | tr '\n' ' '
fi)
has() { case " $queues " in *" $1 "*) echo "$1" ;; *) echo "queues: ${queues:-none}" ;; esac; }

is=$(has "$OLD")
if [ -z "$gone" ] && [ "$(tiffin inspect --type container -f '{{json .State.StartedAt}}' "$DESK")" != "$(made container "$DESK" started)" ]; then is="started anew"; fi
same "$DESK is the container it was" 1 "$OLD" "$is" \
    "${gone:-Its queue $OLD is gone. A new container has a new IPC namespace, and that begins empty: queues end with the last process of theirs.}"

name=$(if [ -z "$gone" ]; then tiffin enter -U -u -t "$pid" uname -n; fi)
case $name in
"$OTHER") w="Somebody set the clerk's name in the desk's UTS namespace. A name is set for all processes of the namespace, so the clerk needs one of its own." ;;
*) w="Join its UTS namespace, and the user namespace that owns it, and set the name there. In a new namespace you only change a copy." ;;
esac
same "the host name of $DESK is $NAME" 3 "$NAME" "$name" "${gone:-$w}"

# A union lets nobody look who is not in its user namespace: fuse(4), allow_other.
if tiffin enter -U -t "$pid" ls "/proc/$pid/root/dev/shm/$QUEUE" >/dev/null 2>&1; then
    w="There is a file of that name in /dev/shm. That is a tmpfs, kept apart by the mount namespace; queues are shown by the file system on /dev/mqueue."
else w="touch /dev/mqueue/$QUEUE makes one, but in the namespace in which that file system was mounted. Do it inside $DESK."
fi
same "$DESK has a message queue $QUEUE" 3 "$QUEUE" "$(has "$QUEUE")" "${gone:-$w}"

p=$(answer clerk)
case $p in *[!0-9]*) p= ;; esac
ipc=$(readlink "/proc/${p:-0}/ns/ipc" 2>/dev/null) || ipc="no process"
uts=$(readlink "/proc/${p:-0}/ns/uts" 2>/dev/null) || uts="no process"
case $ipc in
"no process") w="The file clerk must have one line, the number of a process that still runs, as your shell sees it." ;;
"$(readlink /proc/self/ns/ipc)") w="That process is in your own IPC namespace: perhaps it is your shell. Write down the one you started." ;;
*) w="It has an IPC namespace of its own, and that is empty; nothing in it will ever reach the desk. It must join the desk's: unshare makes, enter joins." ;;
esac
same "the clerk is in the IPC namespace of $DESK" 3 "$desk_ipc" "$ipc" "${gone:-$w}"

# host PID: the host name that the process has.
host() {
    if [ "$(readlink "/proc/$1/ns/user")" = "$(readlink /proc/self/ns/user)" ]; then tiffin enter -u -t "$1" uname -n
    else tiffin enter -U -u -t "$1" uname -n
    fi
}
check="the host name of the clerk is $OTHER, and its own"
if [ "$uts" = "no process" ]; then fail "$check" 3 "$OTHER" "$uts" "First there has to be such a process."
elif [ "$uts" = "$desk_uts" ]; then
    fail "$check" 3 "another UTS namespace than $DESK" "the same, $uts" "The clerk is in the UTS namespace of the desk: whatever name you set, both have it."
elif [ "$uts" = "$(readlink /proc/self/ns/uts)" ]; then
    fail "$check" 3 "a UTS namespace of its own" "yours, $uts" "The clerk is in your own UTS namespace. To have another name it needs a new one first."
else
    same "$check" 3 "$OTHER" "$(host "$p" 2>&1)" "It has a UTS namespace of its own, but a new one begins with a copy of the name. The name must be set in it."
fi
