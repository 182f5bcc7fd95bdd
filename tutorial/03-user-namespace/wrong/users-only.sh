# says: Users and groups have a map each.
tiffin unshare -U sleep "$NAPS" >/dev/null 2>&1 &
until [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.1; done
echo "$INUID $(id -u) 1" >/proc/$!/uid_map
echo $! >pid
