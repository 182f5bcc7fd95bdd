# The checker is tiffin itself: it writes its records to this report, with the token. Programs can be
# executed here, unlike in /tmp of some machines. A judge has a store of its own, and a directory that
# nothing else of the student's sees.
at=$WORK
if [ -n "${JUDGE_STORE-}" ]; then export TIFFIN_ROOT="$JUDGE_STORE" && at=$TMPDIR; fi
tmp=$(mktemp -d "$at/.check-XXXXXX")
trap 'chmod -R u+rwX "$tmp"; rm -rf "$tmp"' EXIT
printf '%s\n' "$_token" | command tiffin __mini "$STAGE" mini root "$tmp"
