# says: the unshare that waits
tiffin unshare -Urpf --mount-proc sleep 1000 </dev/null >/dev/null 2>&1 &
echo "$!" >pid
until [ -n "$(cat "/proc/$!/task/"*/children)" ]; do sleep 0.1; done
