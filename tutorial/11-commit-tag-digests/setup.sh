# The root file system of the image to build, and its three JSON texts with blanks.
rm -rf rootfs forms
mkdir -p rootfs/menu forms
echo "$DISH, $PRICE coins" >"rootfs/menu/$DISH"
chmod 644 "rootfs/menu/$DISH"
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
cat >forms/config.json <<END
{
  "architecture": "$arch", "os": "linux",
  "rootfs": { "type": "layers", "diff_ids": ["sha256:LAYER-DIGEST"] }
}
END
cat >forms/manifest.json <<END
{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "config": {
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": "sha256:CONFIG-DIGEST", "size": CONFIG-SIZE
  },
  "layers": [{
    "mediaType": "application/vnd.oci.image.layer.v1.tar",
    "digest": "sha256:LAYER-DIGEST", "size": LAYER-SIZE
  }]
}
END
cat >forms/index.json <<END
{
  "schemaVersion": 2,
  "manifests": [{
    "mediaType": "application/vnd.oci.image.manifest.v1+json",
    "digest": "sha256:MANIFEST-DIGEST", "size": MANIFEST-SIZE,
    "annotations": { "org.opencontainers.image.ref.name": "$P.example/hand:1" }
  }]
}
END
