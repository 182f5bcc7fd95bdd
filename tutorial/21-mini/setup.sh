# A root file system of the built-in commands, as DIR.
rm -rf root
mkdir -p root/bin root/proc root/dev root/tmp root/etc
tiffin __userland >root/bin/sh
chmod 755 root/bin/sh
for c in cat chroot echo env hostname id ip ls mkdir mount ps pwd readlink rm sleep stat umount uname; do
    ln -s sh "root/bin/$c"
done
root/bin/ls root >/dev/null 2>&1 ||
    unsupported "programs in $WORK cannot be executed (a file system mounted noexec?): set TIFFIN_LABS to a directory elsewhere"
tiffin unshare -Urm mount --bind root root 2>/dev/null ||
    unsupported "this machine does not let root of a user namespace mount"
