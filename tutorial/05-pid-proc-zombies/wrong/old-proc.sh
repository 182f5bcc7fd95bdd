# says: does not change a mount
tiffin unshare -Urpf sh -c 'read -r p rest </proc/self/stat; echo "$p" >pid; exec sleep 1000' </dev/null >/dev/null 2>&1 &
while ! [ -s pid ]; do sleep 0.1; done
