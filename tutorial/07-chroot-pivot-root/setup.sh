# tiffin's binary under other names is the commands of the built-in image; a
# copy of it and some links are a root file system.
tiffin=$(readlink -f "$(command -v tiffin)")
rm -rf bin jail escape pivoted
mkdir -p bin jail/bin
for c in chroot mount pivot_root; do ln -s "$tiffin" "bin/$c"; done
cp "$tiffin" jail/bin/tiffin
for c in cat chroot ls mkdir mount pivot_root pwd sh sleep umount; do ln -s tiffin "jail/bin/$c"; done
jail/bin/ls jail >/dev/null 2>&1 ||
    unsupported "programs in $WORK cannot be executed (a file system mounted noexec?): set TIFFIN_LABS to a directory elsewhere"
tiffin unshare -Urm bin/mount --rbind jail jail 2>/dev/null ||
    unsupported "this machine does not let root of a user namespace mount"
