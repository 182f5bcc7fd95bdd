# says: No id has a number in there, so the process is nobody.
tiffin unshare -U sleep "$NAPS" >/dev/null 2>&1 &
until [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.1; done
echo $! >pid
