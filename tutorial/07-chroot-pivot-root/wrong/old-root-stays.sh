# says: only puts the old root somewhere else
cat >escape <<'END'
mkdir -p x
chroot --skip-chdir x bin/chroot ../../../../../../../../../../../../../../../.. cat "$1"
END
mkdir jail/old
tiffin unshare -Urm sh -c 'bin/mount --rbind jail jail; bin/pivot_root jail jail/old; cd /; exec sleep 1000' &
echo "$!" >pivoted
until grep -qs sleep "/proc/$!/comm"; do sleep 0.1; done
