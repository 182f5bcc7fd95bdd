# sh stack.sh IMAGE LOWER.tar UPPER.tar: makes IMAGE of two layers, as an
# archive of docker save: a config, a manifest and the tarballs themselves.
set -eu
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
cp "$2" "$d/0.tar"
cp "$3" "$d/1.tar"
lower=$(sha256sum <"$d/0.tar") upper=$(sha256sum <"$d/1.tar")
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
cat >"$d/config.json" <<END
{"architecture": "$arch", "os": "linux", "config": {}, "rootfs": {"type": "layers",
 "diff_ids": ["sha256:${lower%% *}", "sha256:${upper%% *}"]}}
END
cat >"$d/manifest.json" <<END
[{"Config": "config.json", "RepoTags": ["$1"], "Layers": ["0.tar", "1.tar"]}]
END
tar -cf - -C "$d" manifest.json config.json 0.tar 1.tar | tiffin load -q >/dev/null
