# lab12/desk: tiffin/base, and a layer with papers of $OWNER. A tarball can say any owner.
rm -rf desk
mkdir desk
echo 'to whom it may concern' >"desk/$LETTER"
echo 'one, two, three' >"desk/$LEDGER"
echo 'blank' >desk/note
chmod 755 desk
chmod 644 desk/*
d=$(mktemp -d)
trap 'rm -rf "$d"' EXIT
tar --owner="$OWNER" --group="$OWNER" --numeric-owner -cf "$d/1.tar" desk
rm -r desk
tiffin run --rm tiffin/base true
cp "$(tiffin inspect --type image -f '{{(index .Layers 0).Flat}}' tiffin/base)" "$d/0.tar"
lower=$(sha256sum <"$d/0.tar") upper=$(sha256sum <"$d/1.tar")
case $(uname -m) in x86_64) arch=amd64 ;; aarch64) arch=arm64 ;; *) arch=$(uname -m) ;; esac
cat >"$d/config.json" <<END
{"architecture": "$arch", "os": "linux", "config": {"Env": ["PATH=/bin"]}, "rootfs": {"type": "layers",
 "diff_ids": ["sha256:${lower%% *}", "sha256:${upper%% *}"]}}
END
cat >"$d/manifest.json" <<END
[{"Config": "config.json", "RepoTags": ["$P/desk:latest"], "Layers": ["0.tar", "1.tar"]}]
END
tar -cf - -C "$d" manifest.json config.json 0.tar 1.tar | tiffin load -q >/dev/null
cat >predict <<END
outside        ?
single-0       ?
single-$NEW   ?
default-$NEW  ?
END
