kind=application/vnd.oci.image
registry=$(cat address)
digest() { echo "sha256:$(sha256sum <"$1" | cut -d ' ' -f 1)"; }

# What is there: the second manifest of the index is that for arm64.
r=$registry/v2/$P.example/lunch
curl -fsS -H "Accept: $kind.index.v1+json" "$r/manifests/$TAG" >got
tiffin lab json '{{range .manifests}}{{if eq .platform.architecture "arm64"}}{{.digest}}{{end}}{{end}}' <got >manifest
curl -fsS -H "Accept: $kind.manifest.v1+json" "$r/manifests/$(cat manifest)" >got
curl -fsS "$r/blobs/$(tiffin lab json '{{(index .layers 0).digest}}' <got)" | tar -xOf - "srv/$SPICE" >recipe

# What is sent: blobs, then the manifests that name them, then the index that names these.
r=$registry/v2/$P.example/hand
for f in layer.tar amd64/config.json arm64/config.json; do
	place=$(curl -fsS -i -X POST "$r/blobs/uploads/" | tr -d '\r' | sed -n 's/^Location: //p')
	curl -fsS -T "$f" "$registry$place?digest=$(digest "$f")"
done
sed 's/ARCHITECTURE-1/amd64/; s/ARCHITECTURE-2/arm64/' index.form >index.json
n=1
for a in amd64 arm64; do
	m=$a/manifest.json
	curl -fsS -T $m -H "Content-Type: $kind.manifest.v1+json" "$r/manifests/$(digest $m)"
	sed "s/DIGEST-$n/$(digest $m)/; s/SIZE-$n/$(wc -c <$m)/" index.json >filled
	mv filled index.json
	n=$((n + 1))
done
curl -fsS -T index.json -H "Content-Type: $kind.index.v1+json" "$r/manifests/$DAY"
