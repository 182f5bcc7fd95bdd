# Only what is in a PID namespace of its own can be the lab's.
p=$(answer pid)
case $p in '' | *[!0-9]*) exit 0 ;; esac
ns=$(readlink "/proc/$p/ns/pid" 2>/dev/null) || exit 0
if [ "$ns" != "$(readlink /proc/self/ns/pid)" ]; then kill -KILL "$p" 2>/dev/null || true; fi
