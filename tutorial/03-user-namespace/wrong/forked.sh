# says: That process started the sleep and waits for it.
tiffin unshare -Uf sleep "$NAPS" >/dev/null 2>&1 &
sleep 0.3
echo $! >pid
