# lab20.example/wire: tiffin/base, and a layer with some files; and the recording of what somebody
# did in a container of it, who is not asked what it was.
rm -rf layer recording decoded predict compare
mkdir -p "layer/$DIR/box"
for f in "$READ" "$TORN" "$GONE"; do head -c 5000 /dev/zero | tr '\000' x >"layer/$DIR/$f"; done
head -c "$ONE" /dev/zero | tr '\000' 1 >"layer/$DIR/box/one"
head -c "$TWO" /dev/zero | tr '\000' 2 >"layer/$DIR/box/two"
tar --owner=0 --group=0 -cf layer.tar -C layer "$DIR"
stack "$P.example/wire:1" tiffin/base layer.tar
rm -r layer layer.tar
# A reader that is slow is not waited for: then something is missing, and it is done again.
record_it() {
	tiffin run --rm --driver fuse --trace="$PWD/recording" --trace-json --trace-path "/$DIR" -w "/$DIR" "$P.example/wire:1" sh -c '
		cat "$1" >/dev/null
		test -e "$4"
		printf y | dd of="$2" bs=1 conv=notrunc status=none
		dd if=/dev/zero of="$5" bs="$6" count="$7" status=none
		rm "$3"
		true' sh "$READ" "$TORN" "$GONE" "$LOST" "$FRESH" "$PIECE" "$PIECES"
	[ "$(grep -c '"op":"WRITE"' recording)" = $((PIECES + 1)) ] && grep -q "LOOKUP.*/$LOST\"" recording &&
		grep -q '"copied":' recording && grep -q '"op":"MKNOD"' recording && grep -q '"op":"UNLINK"' recording
}
n=0
until record_it; do
	n=$((n + 1))
	if [ $n = 20 ]; then exit 1; fi
done
printf '%s ?\n' missing removed copied written >decoded
printf '%s ?\n' writes again overlay >predict
printf '%s ?\n' fuse overlay >compare
