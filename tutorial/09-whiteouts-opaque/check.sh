t=$(mktemp -d)
trap 'rm -rf "$t"; tiffin rmi "$P.example/check:1" "$P.example/check:2" >/dev/null 2>&1 || :' EXIT

# lower.tar is made again: the student's may be gone. In other.tar the box has one thing more.
pantry "$t/lower"
tar -cf "$t/lower.tar" -C "$t/lower" pantry
echo 500 >"$t/lower/pantry/$BOX/old-3"
tar -cf "$t/other.tar" -C "$t/lower" pantry

names=$(tar -tf layer.tar 2>/dev/null | sed 's|^\./||; s|/$||') || :
stacked=no
if [ -n "$names" ] && stack "$P.example/check:1" "$t/lower.tar" layer.tar 2>"$t/errors" &&
	stack "$P.example/check:2" "$t/other.tar" layer.tar 2>>"$t/errors"; then
	stacked=yes
fi
same 'layer.tar is a layer' 1 yes "$stacked" \
	"There must be a tarball layer.tar that can be put on another layer ($(sed 1q "$t/errors" 2>/dev/null || echo 'it is missing or empty'))."

has() { printf '%s\n' "$names" | grep -qxF "$1"; }
# seen IMAGE PATH: whether PATH can be seen in the merged tree.
seen() { tiffin why --type image "$P.example/check:$1" "$2" >/dev/null 2>&1; }
# text NAME: the first line of that file in layer.tar.
text() { { tar -xOf layer.tar "$1" || tar -xOf layer.tar "./$1"; } 2>/dev/null | sed 1q; }

none='First write a layer.tar, if only with some of the changes.'
outside='The paths in the tarball are those of the image: pantry/..., with nothing before it (tar -C DIR pantry).'
if [ "$stacked" = no ]; then
	state='no layer' why=$none
elif ! seen 1 "/pantry/$GONE"; then
	state=deleted why=
elif tar -tvf layer.tar | grep -q "^c.*/$GONE\$"; then
	state='a character device' why='A character device 0, 0 is a whiteout to kernel overlayfs only; in a layer it is a device like any other. A layer says it with a name.'
elif has "pantry/$GONE"; then
	state='a file' why='An empty file hides the one below, but is a file itself: the name can still be seen. A mark with another name is needed.'
elif has ".wh.$GONE" || has "pantry/.wh.pantry/$GONE"; then
	state='still there' why='The whiteout stands in the wrong directory: it deletes a name of the directory that it is in.'
elif ! printf '%s\n' "$names" | grep -q '^pantry/'; then
	state='still there' why=$outside
else
	state='still there' why='That a layer does not have a name says nothing about it: then the layer below answers. Deleting must be said.'
fi
same 'the deleted file cannot be seen' 3 deleted "$state" "$why"

# What can be seen in the box, over this lower layer and over another one.
inbox=
for f in old-1 old-2 "$FRESH"; do if seen 1 "/pantry/$BOX/$f"; then inbox="$inbox $f"; fi; done
if has "pantry/.wh..opq" || has "pantry/$BOX/.wh..opq" || has "pantry/$BOX/.wh.opq"; then
	why='That file name means "a file called .opq (or opq) is deleted"; the mark of an opaque directory is .wh..wh..opq.'
elif [ -z "$inbox" ] && has "pantry/.wh.$BOX"; then
	why='A whiteout deletes the directory with all in it, and nothing new has come in its place.'
else
	why='A directory of the same name is merged with the one below, so the old names are still seen: say that it is opaque.'
fi
inbox=${inbox# }
if [ "$stacked" = no ]; then inbox='no layer' why=$none; fi
same 'of the opaque directory only what is new can be seen' 3 "$FRESH" "${inbox:-nothing}" "$why"

other='nothing old'
why='Deleting the names that you know, one by one, is right only over the layer that you know; an opaque directory hides whatever is below.'
if [ "$stacked" = no ]; then other='no layer' why=$none; elif seen 2 "/pantry/$BOX/old-3"; then other='an old name'; fi
same 'it is opaque over any other layer too' 2 'nothing old' "$other" "$why"

same 'the changed file has its new content' 1 "$WEIGHT" "$(text "pantry/$CHANGED")" \
	'A changed file is in the layer as a whole, under its own name.'

kept=
for f in "$KEPT" shelf/rice "shelf/$ADDED"; do if seen 1 "/pantry/$f"; then kept="$kept $f"; fi; done
if has 'pantry/.wh..wh..opq' || has .wh..wh..opq || has pantry/shelf/.wh..wh..opq; then
	why='The mark makes the directory opaque that it is in: you have one where the attribute is not.'
else
	why='A directory without a mark is merged: it shows what both have. You have hidden too much, or left out what is new.'
fi
kept=${kept# }
if [ "$stacked" = no ]; then kept='no layer' why=$none; fi
same 'all else is merged' 2 "$KEPT shelf/rice shelf/$ADDED" "$kept" "$why"
