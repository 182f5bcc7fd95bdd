# says: the whiteout: an empty file that hides. What it hides is in a layer below.
tiffin save -q -o lunch.tar "$P.example/lunch:$TAG"
mkdir lunch && tar xf lunch.tar -C lunch
for blob in lunch/blobs/sha256/*; do
	if tar tf $blob 2>/dev/null | grep -qx "srv/.wh.$SPICE"; then
		echo sha256:${blob##*/} >layer
		tar xOf $blob "srv/.wh.$SPICE" >recipe
	fi
done
