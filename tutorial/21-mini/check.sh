# The checker is tiffin itself: it writes its records to this report, with the token. Programs can be
# executed here, unlike in /tmp of some machines. A judge has a store of its own.
tmp=$(mktemp -d "$WORK/.check-XXXXXX")
trap 'chmod -R u+rwX "$tmp"; rm -rf "$tmp"' EXIT
if [ -n "${JUDGE_STORE-}" ]; then export TIFFIN_ROOT="$JUDGE_STORE"; fi
printf '%s\n' "$_token" | command tiffin __mini "$STAGE" mini root "$tmp"
