tiffin save -q -o lunch.tar "$P.example/lunch:$TAG"
mkdir -p lunch && tar xf lunch.tar -C lunch
blobs=lunch/blobs/sha256
manifest=$(grep -o 'sha256:[0-9a-f]*' lunch/index.json | cut -d : -f 2)
parts=$(grep -o 'sha256:[0-9a-f]*' $blobs/$manifest)
echo "$parts" | head -n 1 >config
for part in $(echo "$parts" | tail -n +2); do
	if tar tf $blobs/${part#sha256:} | grep -qx "srv/$SPICE"; then
		echo $part >layer
		tar xOf $blobs/${part#sha256:} "srv/$SPICE" >recipe
	fi
done
