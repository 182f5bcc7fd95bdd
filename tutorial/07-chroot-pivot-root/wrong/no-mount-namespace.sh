# says: pivot_root changes a mount namespace
tiffin unshare -Ur bin/chroot jail /bin/sleep 1000 &
echo "$!" >pivoted
until grep -qs sleep "/proc/$!/comm"; do sleep 0.1; done
