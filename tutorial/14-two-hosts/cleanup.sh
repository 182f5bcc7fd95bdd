# Only what is in a network namespace of its own can be the lab's.
for f in left right; do
    p=$(answer "$f")
    case $p in '' | *[!0-9]*) continue ;; esac
    ns=$(readlink "/proc/$p/ns/net" 2>/dev/null) || continue
    if [ "$ns" != "$(readlink /proc/self/ns/net)" ]; then kill -KILL "$p" 2>/dev/null || true; fi
done
