# The shell and the commands of the built-in image are one program under many names: a copy of it
# and some links are a root file system.
rm -rf bin jail escape pivoted
mkdir -p bin jail/bin
tiffin __userland >jail/bin/sh
chmod 755 jail/bin/sh
cp jail/bin/sh bin/sh
for c in chroot mount pivot_root; do ln -s sh "bin/$c"; done
for c in cat chroot ls mkdir mount pivot_root pwd sleep umount; do ln -s sh "jail/bin/$c"; done
jail/bin/ls jail >/dev/null 2>&1 ||
    unsupported "programs in $WORK cannot be executed (a file system mounted noexec?): set TIFFIN_LABS to a directory elsewhere"
tiffin unshare -Urm bin/mount --rbind jail jail 2>/dev/null ||
    unsupported "this machine does not let root of a user namespace mount"
