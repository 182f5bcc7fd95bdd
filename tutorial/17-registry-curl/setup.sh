# lab17.example/lunch is an index of two images, each with a recipe of its own. The parts of another
# such index are in this directory, ready to be sent. A registry shows this store.
rm -rf amd64 arm64 layer.tar index.form lunch
kind=application/vnd.oci.image
# described TYPE FILE: the descriptor of a file, without its braces.
described() {
	_h=$(sha256sum <"$2")
	printf '"mediaType": "%s", "digest": "sha256:%s", "size": %d' "$kind.$1" "${_h%% *}" "$(wc -c <"$2")"
}
# image DIR ARCH LAYER: DIR gets the config and the manifest of an image of one layer.
image() {
	mkdir -p "$1"
	_h=$(sha256sum <"$3")
	printf '{"architecture": "%s", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ["sha256:%s"]}}\n' \
		"$2" "${_h%% *}" >"$1/config.json"
	printf '{"schemaVersion": 2, "mediaType": "%s", "config": {%s}, "layers": [{%s}]}\n' "$kind.manifest.v1+json" \
		"$(described config.v1+json "$1/config.json")" "$(described layer.v1.tar "$3")" >"$1/manifest.json"
}
# entry FILE ARCH: how an index lists a manifest.
entry() { printf '{%s, "platform": {"os": "linux", "architecture": "%s"}}' "$(described manifest.v1+json "$1")" "$2"; }
# layer FILE TEXT: a tarball with /srv/$SPICE.
layer() {
	mkdir srv
	echo "$2" >"srv/$SPICE"
	tar --owner=0 --group=0 -cf "$1" srv
	rm -r srv
}

layer lunch-amd64.tar "$GRAMS grams of $SPICE"
layer lunch-arm64.tar "$MORE grams of $SPICE"
image lunch/amd64 amd64 lunch-amd64.tar
image lunch/arm64 arm64 lunch-arm64.tar
printf '{"schemaVersion": 2, "mediaType": "%s", "manifests": [%s, %s]}\n' "$kind.index.v1+json" \
	"$(entry lunch/amd64/manifest.json amd64)" "$(entry lunch/arm64/manifest.json arm64)" >lunch/list
mkdir -p lunch/layout/blobs/sha256
for f in lunch-*.tar lunch/*/*.json lunch/list; do
	_h=$(sha256sum <"$f")
	cp "$f" "lunch/layout/blobs/sha256/${_h%% *}"
done
echo '{"imageLayoutVersion": "1.0.0"}' >lunch/layout/oci-layout
printf '{"schemaVersion": 2, "manifests": [{%s}]}\n' "$(described index.v1+json lunch/list)" >lunch/layout/index.json
tiffin copy -q --all oci:lunch/layout "$P.example/lunch:$TAG"
rm -r lunch lunch-*.tar

layer layer.tar "$SPICE for $DAY"
image amd64 amd64 layer.tar
image arm64 arm64 layer.tar
cat >index.form <<END
{ "schemaVersion": 2, "mediaType": "$kind.index.v1+json",
  "manifests": [
    { "mediaType": "$kind.manifest.v1+json",
      "digest": "DIGEST-1", "size": SIZE-1,
      "platform": { "os": "linux", "architecture": "ARCHITECTURE-1" } },
    { "mediaType": "$kind.manifest.v1+json",
      "digest": "DIGEST-2", "size": SIZE-2,
      "platform": { "os": "linux", "architecture": "ARCHITECTURE-2" } }
  ] }
END

tiffin serve -q --addr 127.0.0.1:0 >address 2>/dev/null &
until [ -s address ]; do sleep 0.05; done
