# tiffin's binary under other names is the commands of the built-in image; a
# copy of it and some links are a root file system.
tiffin=$(readlink -f "$(command -v tiffin)")
rm -rf bin jail escape pivoted
mkdir -p bin jail/bin
for c in chroot mount pivot_root; do ln -s "$tiffin" "bin/$c"; done
cp "$tiffin" jail/bin/tiffin
for c in cat chroot ls mkdir mount pivot_root pwd sh sleep umount; do ln -s tiffin "jail/bin/$c"; done
