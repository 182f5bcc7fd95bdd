# A line of the recording, by operation and file.
name() { sed -n "s|.*\"path\":\"/$DIR/\([a-z]*\)\".*|\1|p" | sort -u; }
missed=$(grep '"op":"LOOKUP"' recording | grep -v '"by":' | name)
made=$(grep '"op":"MKNOD"' recording | name)
sum=0
for n in $(grep '"op":"WRITE"' recording | grep "/$DIR/$made\"" | sed 's/.*"bytes":\([0-9]*\).*/\1/'); do sum=$((sum + n)); done
cat >decoded <<END
missing $(echo "$missed" | grep -vx "$made")
removed $(grep '"op":"UNLINK"' recording | name)
copied $(grep '"copied":' recording | name)
written $sum
END
# Each write(2) is a request; what has been read is remembered; the kernel's overlayfs writes itself.
cat >predict <<END
writes $COUNT
again 0
overlay 0
END
# A renamed directory is a name; overlayfs says EXDEV, and mv copies.
cat >compare <<END
fuse 0
overlay $(tiffin run --rm "$P.example/wire:1" cat "/$DIR/box/one" "/$DIR/box/two" | wc -c | tr -d ' ')
END
