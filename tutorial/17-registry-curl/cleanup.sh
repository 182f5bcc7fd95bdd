# A manifest whose tag went to another one is an image without a name.
if [ -f layer.tar ]; then
	layer=$(sha256sum <layer.tar)
	for i in $(tiffin images -q --no-trunc -f dangling=true); do
		case $(tiffin inspect --type image -f '{{.RootFS.Layers}}' "$i") in
		"[sha256:${layer%% *}]") tiffin rmi "$i" >/dev/null ;;
		esac
	done
fi
