blobs=layout/blobs/sha256
# json TEMPLATE FILE: a value of a JSON text, however its keys are sorted and indented; nothing if
# it is no JSON or has no such value.
json() { if [ -f "$2" ]; then tiffin lab json "$1" <"$2" 2>/dev/null || :; fi; }
hex() { sed -n 's/^sha256:\([0-9a-f]\{64\}\)$/\1/p'; }
digest_of() { if [ -f "$1" ]; then sha256sum <"$1" | cut -d' ' -f1; fi; }
size_of() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; fi; }
# blob DIGEST: the path of the blob, of a file that is not there if the digest is none.
blob() { echo "$blobs/${1:-none}"; }

# Walk along the arrows, as far as they lead.
manifest=$(json '{{(index .manifests 0).digest}}' layout/index.json | hex)
config=$(json '{{.config.digest}}' "$(blob "$manifest")" | hex)
layer=$(json '{{(index .layers 0).digest}}' "$(blob "$manifest")" | hex)

# 1. Names.
bad='all are' n=0
for f in "$blobs"/*; do
	[ -f "$f" ] || continue
	n=$((n + 1))
	[ "${f##*/}" = "$(digest_of "$f")" ] || bad="${f##*/} has the digest $(digest_of "$f")"
done
if [ "$n" -lt 3 ]; then bad="$n files in $blobs"; fi
case $bad in
*files*) why='A layout of one layer has three blobs: the layer, the config and the manifest.' ;;
*) why='The file was changed after it had got its name, if only by a line end; or the digest is that of something else. First complete the file, then name it.' ;;
esac
same 'each blob is named by the digest of its content' 2 'all are' "$bad" "$why"

# 2. The index.
# described TEMPLATE FILE: digest, size and media type that a descriptor of the file says.
described() { json "{{with $1}}{{.digest}}, {{.size}} bytes, {{.mediaType}}{{end}}" "$2"; }
# true_of DIGEST TYPE: what it should say of the blob.
true_of() { echo "sha256:$(digest_of "$(blob "$1")"), $(size_of "$(blob "$1")") bytes, $2"; }
kind=application/vnd.oci.image
# points FOUND WANT: WHY it is not the same.
points() {
	if [ "${1%, *}" = "${2%, *}" ]; then
		echo "Digest and size are right. The media type says what the blob is: ${2##*, }"
	else
		echo 'It needs the digest of the finished blob and its length in bytes (wc -c); du and ls -s count blocks of the disk.'
	fi
}
if [ -f "$(blob "$manifest")" ]; then
	want=$(true_of "$manifest" $kind.manifest.v1+json) got=$(described '(index .manifests 0)' layout/index.json)
else
	want="a blob in $blobs" got=${manifest:-nothing}
fi
same 'index.json names the manifest, and its size' 2 "$want" "$got" "$(points "$got" "$want")"

# 3. The manifest. OCI image-spec v1.1 layer.md, "+gzip Media Types": a compressed layer is called so.
magic=$(if [ -f "$(blob "$layer")" ]; then od -An -tx1 -N2 "$(blob "$layer")" | tr -d ' '; fi)
gzip=$(if [ "$magic" = 1f8b ]; then echo +gzip; fi)
if [ -f "$(blob "$config")" ] && [ -f "$(blob "$layer")" ]; then
	m=$(blob "$manifest")
	want="$(true_of "$config" $kind.config.v1+json); $(true_of "$layer" "$kind.layer.v1.tar$gzip")"
	got="$(described .config "$m"); $(described '(index .layers 0)' "$m")"
	case $(points "${got%; *}" "${want%; *}")$(points "${got#*; }" "${want#*; }") in
	*length*) why='The manifest needs digest and length in bytes (wc -c) of two blobs that exist; du and ls -s count blocks of the disk.' ;;
	*) why="Digests and sizes are right. The media types say what the blobs are: $kind.config.v1+json and $kind.layer.v1.tar$gzip" ;;
	esac
else
	want="two blobs in $blobs" got="${config:-nothing} ${layer:-nothing}"
	why='The manifest needs digest and length in bytes (wc -c) of two blobs that exist.'
fi
same 'the manifest names config and layer, and their sizes' 2 "$want" "$got" "$why"

# 4. The config.
# tarball: the layer, uncompressed.
tarball() {
	if [ "$magic" = 1f8b ]; then gzip -dc <"$(blob "$layer")" 2>/dev/null || :; else cat "$(blob "$layer")"; fi
}
diff_id=$(json '{{range $i, $d := .rootfs.diff_ids}}{{if $i}} {{end}}{{$d}}{{end}}' "$(blob "$config")")
content=
if [ -n "$magic" ]; then content=sha256:$(tarball | sha256sum | cut -d' ' -f1); fi
if [ "$magic" = 1f8b ] && [ "$diff_id" = "sha256:$layer" ]; then
	why='That is the digest of the compressed layer: a diff ID is the digest of the tarball before compression, so that it stays when somebody compresses it otherwise.'
else
	why='diff_ids has the digest of the uncompressed tarball of the layer, and of nothing else.'
fi
same 'the config names the content of the layer' 2 "${content:-the digest of a layer}" "$diff_id" "$why"

# 5. The layer.
found=no names=
if [ -n "$magic" ]; then
	names=$(tarball | tar -tf - 2>/dev/null | sed 's|^\./||; s|/$||')
	for name in "menu/$DISH" "./menu/$DISH"; do
		if [ "$(tarball | tar -xOf - "$name" 2>/dev/null)" = "$DISH, $PRICE coins" ]; then found="menu/$DISH"; fi
	done
fi
case $names in
*rootfs/menu*) why='The paths of a layer begin at the root of the image: this one puts everything below /rootfs. tar -C rootfs packs what is in it.' ;;
*) why='The layer must be a tarball of what is in rootfs/.' ;;
esac
same 'the layer has the files of rootfs' 2 "menu/$DISH" "$found" "$why"

# 6. and 7. What tiffin knows.
is() { tiffin inspect --type image -f '{{.Descriptor.digest}}' "$1" 2>/dev/null | sed 's/^sha256://' || :; }
have=$(is "$P.example/hand:1")
if [ -n "$have" ] && [ -n "$manifest" ]; then why='tiffin has another image of that name: if you change a layout, its digest changes, and it must be loaded again.'; else
	why='Load it: tiffin load -i layout. If that fails, its message names the first thing that is wrong.'; fi
same "tiffin has this image as $P.example/hand:1" 2 "${manifest:-a manifest in index.json}" "$have" "$why"

second=$(is "$P.example/hand:$DAY")
if [ -n "$second" ]; then why='That is another image, even if it shows the same files: a tag is a name for a digest, nothing has to be made for it.'; else
	why='tiffin tag gives an image one more name.'; fi
same "$P.example/hand:$DAY is a name for the same image" 1 "${have:-the digest of $P.example/hand:1}" "$second" "$why"
