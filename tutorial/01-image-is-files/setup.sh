# An image of three layers: the built-in one, a recipe, and the recipe's deletion.
IMAGE=$P/lunch:$TAG
layer() { # FROM TO SCRIPT
	tiffin run --name "$P-cook" "$1" sh -c "$3"
	tiffin commit -c 'CMD cat /srv/menu' "$P-cook" "$2" >/dev/null
	tiffin rm "$P-cook" >/dev/null
}
tiffin rm -f "$P-cook" >/dev/null 2>&1 || true
layer tiffin/base "$P/half:$TAG" \
	"mkdir -p /srv && echo 'rice with $SPICE' >/srv/menu && echo '$GRAMS grams of $SPICE, $MINUTES minutes' >/srv/$SPICE"
layer "$P/half:$TAG" "$IMAGE" "rm /srv/$SPICE && echo closed >/srv/door"
tiffin rmi "$P/half:$TAG" >/dev/null
