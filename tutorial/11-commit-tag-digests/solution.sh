rm -rf layout
mkdir -p layout/blobs/sha256
echo '{"imageLayoutVersion": "1.0.0"}' >layout/oci-layout
tar -cf layer.tar -C rootfs menu
digest() { sha256sum <"$1" | cut -d' ' -f1; }
size() { wc -c <"$1" | tr -d ' '; }
sed "s/LAYER-DIGEST/$(digest layer.tar)/" forms/config.json >config.json
sed "s/LAYER-DIGEST/$(digest layer.tar)/; s/LAYER-SIZE/$(size layer.tar)/
	s/CONFIG-DIGEST/$(digest config.json)/; s/CONFIG-SIZE/$(size config.json)/" forms/manifest.json >manifest.json
sed "s/MANIFEST-DIGEST/$(digest manifest.json)/; s/MANIFEST-SIZE/$(size manifest.json)/" forms/index.json >layout/index.json
for f in layer.tar config.json manifest.json; do cp "$f" "layout/blobs/sha256/$(digest "$f")"; done
tiffin load -i layout
tiffin tag "$P.example/hand:1" "$P.example/hand:$DAY"
