# says: There is no such process, or it has ended
tiffin unshare -U true >/dev/null 2>&1 &
echo $! >pid
wait $!
