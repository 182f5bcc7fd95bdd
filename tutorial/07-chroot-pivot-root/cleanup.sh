# Only what is in a mount namespace of its own can be the lab's.
p=$(answer pivoted)
case $p in '' | *[!0-9]*) exit 0 ;; esac
ns=$(readlink "/proc/$p/ns/mnt" 2>/dev/null) || exit 0
if [ "$ns" != "$(readlink /proc/self/ns/mnt)" ]; then kill -KILL "$p" 2>/dev/null || true; fi
