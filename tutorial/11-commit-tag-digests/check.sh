blobs=layout/blobs/sha256
flat() { { tr -d ' \t\r\n' <"$1" || :; } 2>/dev/null; }
# inside KEY: of the JSON text on standard input, what is between the braces after KEY.
inside() { sed -n "s/.*\"$1\":\[*{\([^{}]*\).*/\1/p"; }
digest_in() { sed -n 's/.*"digest":"sha256:\([0-9a-f]*\)".*/\1/p'; }
size_in() { sed -n 's/.*"size":\([0-9]*\).*/\1/p'; }
digest_of() { if [ -f "$1" ]; then sha256sum <"$1" | cut -d' ' -f1; fi; }
size_of() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; fi; }

# Walk along the arrows, as far as they lead.
index=$(flat layout/index.json)
manifest=$(printf '%s' "$index" | inside manifests | digest_in)
text=$(if [ -n "$manifest" ] && [ -f "$blobs/$manifest" ]; then flat "$blobs/$manifest"; fi)
config=$(printf '%s' "$text" | inside config | digest_in)
layer=$(printf '%s' "$text" | inside layers | digest_in)

# 1. Names.
bad='all are' n=0
for f in "$blobs"/*; do
	[ -f "$f" ] || continue
	n=$((n + 1))
	[ "${f##*/}" = "$(digest_of "$f")" ] || bad="${f##*/} has the digest $(digest_of "$f")"
done
if [ "$n" -lt 3 ]; then bad="$n files in $blobs"; fi
case $bad in
*files*) why='a layout of one layer has three blobs: the layer, the config and the manifest' ;;
*) why='the file was changed after it had got its name, if only by a line end; or the digest is that of something else. First complete the file, then name it' ;;
esac
same 'each blob is named by the digest of its content' 2 'all are' "$bad" "$why"

# 2. The index.
if [ -n "$text" ]; then
	want="$(digest_of "$blobs/$manifest") of $(size_of "$blobs/$manifest") bytes"
	got="$manifest of $(printf '%s' "$index" | inside manifests | size_in) bytes"
else
	want="a blob in $blobs" got=${manifest:-nothing}
fi
same 'index.json names the manifest, and its size' 2 "$want" "$got" \
	'index.json needs the digest of the finished manifest and its length in bytes (wc -c); du and ls -s count blocks of the disk'

# 3. The manifest.
if [ -n "$config" ] && [ -f "$blobs/$config" ] && [ -n "$layer" ] && [ -f "$blobs/$layer" ]; then
	want="$(size_of "$blobs/$config") and $(size_of "$blobs/$layer") bytes"
	got="$(printf '%s' "$text" | inside config | size_in) and $(printf '%s' "$text" | inside layers | size_in) bytes"
else
	want="two blobs in $blobs" got="${config:-nothing} ${layer:-nothing}"
fi
same 'the manifest names config and layer, and their sizes' 2 "$want" "$got" \
	'the manifest needs digest and length in bytes (wc -c) of two blobs that exist; du and ls -s count blocks of the disk'

# 4. The config.
diff_id=$(if [ -n "$config" ] && [ -f "$blobs/$config" ]; then flat "$blobs/$config" | sed -n 's/.*"diff_ids":\["sha256:\([0-9a-f]*\)"\].*/\1/p'; fi)
magic=$(if [ -n "$layer" ] && [ -f "$blobs/$layer" ]; then od -An -tx1 -N2 "$blobs/$layer" | tr -d ' '; fi)
content=$layer
if [ "$magic" = 1f8b ]; then content=$(gzip -dc <"$blobs/$layer" | sha256sum | cut -d' ' -f1); fi
if [ "$magic" = 1f8b ] && [ "$diff_id" = "$layer" ]; then
	why='that is the digest of the compressed layer: a diff ID is the digest of the tarball before compression, so that it stays when somebody compresses it otherwise'
else
	why='diff_ids has the digest of the uncompressed tarball of the layer, and of nothing else'
fi
same 'the config names the content of the layer' 2 "${content:-the digest of a layer}" "$diff_id" "$why"

# 5. The layer.
tarball() { if [ "$magic" = 1f8b ]; then gzip -dc <"$blobs/$layer"; else cat "$blobs/$layer"; fi; }
found=no
names=
if [ -n "$layer" ] && [ -f "$blobs/$layer" ]; then
	names=$(tarball | tar -tf - 2>/dev/null | sed 's|^\./||; s|/$||')
	for name in "menu/$DISH" "./menu/$DISH"; do
		if [ "$(tarball | tar -xOf - "$name" 2>/dev/null)" = "$DISH, $PRICE coins" ]; then found="menu/$DISH"; fi
	done
fi
case $names in
*rootfs/menu*) why='the paths of a layer begin at the root of the image: this one puts everything below /rootfs. tar -C rootfs packs what is in it' ;;
*) why='the layer must be a tarball of what is in rootfs/' ;;
esac
same 'the layer has the files of rootfs' 2 "menu/$DISH" "$found" "$why"

# 6. and 7. What tiffin knows.
is() { tiffin inspect --type image -f '{{.Descriptor.digest}}' "$1" 2>/dev/null | sed 's/^sha256://' || :; }
have=$(is "$P/hand:1")
if [ -n "$have" ] && [ -n "$manifest" ]; then why='tiffin has another image of that name: if you change a layout, its digest changes, and it must be loaded again'; else
	why='load it: tiffin load -i layout. If that fails, its message names the first thing that is wrong'; fi
same "tiffin has this image as $P/hand:1" 2 "${manifest:-a manifest in index.json}" "$have" "$why"

second=$(is "$P/hand:$DAY")
if [ -n "$second" ]; then why='that is another image, even if it shows the same files: a tag is a name for a digest, nothing has to be made for it'; else
	why='tiffin tag gives an image one more name'; fi
same "$P/hand:$DAY is a name for the same image" 1 "${have:-the digest of $P/hand:1}" "$second" "$why"
