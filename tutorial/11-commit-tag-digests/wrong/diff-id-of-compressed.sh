# says: That is the digest of the compressed layer
sed '/^tiffin/d; s/^tar .*/&; gzip -c <layer.tar >layer.gz; mv layer.gz layer.tar/
	s/forms\/manifest.json/gz.json/' "$LAB/solution.sh" >s.sh
sed 's/layer.v1.tar/&+gzip/' forms/manifest.json >gz.json
. ./s.sh
