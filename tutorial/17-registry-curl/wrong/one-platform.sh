# says: The index has no entry for the architecture arm64
sed 's/^sed .*/cat >index.json <<END\
{"schemaVersion": 2, "mediaType": "application\/vnd.oci.image.index.v1+json", "manifests": [{"mediaType":\
"application\/vnd.oci.image.manifest.v1+json", "digest": "DIGEST-1", "size": SIZE-1, "platform": {"os": "linux", "architecture": "amd64"}}]}\
END/' "$LAB/solution.sh" >s.sh
. ./s.sh
