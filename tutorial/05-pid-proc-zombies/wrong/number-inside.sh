# says: 1 is the number inside
tiffin unshare -Urpf --mount-proc sh -c 'echo $$ >pid; exec sleep 1000' </dev/null >/dev/null 2>&1 &
while ! [ -s pid ]; do sleep 0.1; done
