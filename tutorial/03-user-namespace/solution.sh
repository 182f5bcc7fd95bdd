tiffin unshare -U sleep "$NAPS" >/dev/null 2>&1 &
until [ "$(cat /proc/$!/comm)" = sleep ]; do sleep 0.1; done
echo "$INUID $(id -u) 1" >/proc/$!/uid_map
echo deny >/proc/$!/setgroups
echo "$INGID $(id -g) 1" >/proc/$!/gid_map
echo $! >pid
tiffin enter -t $! -U stat -c %u / >owner
