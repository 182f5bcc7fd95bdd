# lower.tar is the layer below; upper/ is what kernel overlayfs keeps of some changes to it.
rm -rf lower upper
pantry lower
tar --owner=0 --group=0 -cf lower.tar -C lower pantry
rm -r lower

mkdir -p "upper/pantry/$BOX" upper/pantry/shelf
echo "$WEIGHT" >"upper/pantry/$CHANGED"
echo 3 >"upper/pantry/$BOX/$FRESH"
echo 40 >"upper/pantry/shelf/$ADDED"
# A file system that refuses (an old NFS server) leaves the student with upper.txt.
mknod -m 0 "upper/pantry/$GONE" c 0 0 2>/dev/null || :
tiffin run --rm -v "$PWD/upper:/upper" tiffin/base \
	setfattr -n user.overlay.opaque -v y "/upper/pantry/$BOX" 2>/dev/null || :

cat >upper.txt <<END
upper/pantry:
drwxr-xr-x        $BOX
-rw-r--r--     4  $CHANGED
c---------  0, 0  $GONE
drwxr-xr-x        shelf

upper/pantry/$BOX:          user.overlay.opaque="y"
-rw-r--r--     2  $FRESH

upper/pantry/shelf:
-rw-r--r--     3  $ADDED
END
cp "$LAB/stack.sh" .
