# says: A process is in the user namespace of its parent unless somebody makes a new one
sleep "$NAPS" >/dev/null 2>&1 &
until [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.1; done
echo $! >pid
