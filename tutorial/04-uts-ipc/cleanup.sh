# Only what is in an IPC namespace of its own can be the lab's.
p=$(answer clerk)
case $p in '' | *[!0-9]*) exit 0 ;; esac
ns=$(readlink "/proc/$p/ns/ipc" 2>/dev/null) || exit 0
if [ "$ns" != "$(readlink /proc/self/ns/ipc)" ]; then kill -KILL "$p" 2>/dev/null || true; fi
