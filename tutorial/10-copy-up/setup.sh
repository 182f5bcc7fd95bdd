# One layer over tiffin/base: the shelf with its four files, and tea.
file() { printf 'yes %s | head -c %s >/%s/%s; ' "$1" "$2" "$SHELF" "$1"; }
tiffin rm "$P-build" >/dev/null 2>&1 || :
tiffin run --name "$P-build" tiffin/base sh -c "mkdir /$SHELF; $(
	file "$A" "$SIZE_A"; file "$B" "$SIZE_B"; file "$C" "$SIZE_C"; file "$D" "$SIZE_D"; file tea 100000)"
tiffin commit "$P-build" "$P.example/shelf" >/dev/null
tiffin rm "$P-build" >/dev/null
