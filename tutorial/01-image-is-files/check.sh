# The truth comes out of the store, by way of `save`: the student's copies may be changed.
image=$P.example/lunch:$TAG
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
gone='The image is not in the store any more. `tiffin lab reset` makes it again.'
have=yes
if ! tiffin save -q -o "$tmp/image.tar" "$image" 2>/dev/null; then
	have=no
else
	tar xf "$tmp/image.tar" -C "$tmp"
fi
blobs=$tmp/blobs/sha256
digests() { grep -o 'sha256:[0-9a-f]*' "$1"; }
member() { tar xOf "$blobs/${1#sha256:}" "srv/$2" 2>/dev/null; }

manifest='' config='' layers='' brought='' hides='' recipe=''
if [ $have = yes ]; then
	manifest=$(digests "$tmp/index.json")
	parts=$(digests "$blobs/${manifest#sha256:}")
	config=$(tiffin inspect --format '{{.Id}}' "$image")
	for d in $parts; do
		if [ "$d" = "$config" ]; then continue; fi
		layers="$layers $d"
		names=$(tar tf "$blobs/${d#sha256:}" 2>/dev/null)
		case "
$names
" in
		*"
srv/$SPICE
"*) brought=$d recipe=$(member "$d" "$SPICE") ;;
		*"
srv/.wh.$SPICE
"*) hides=$d ;;
		esac
	done
fi
of() { case " $(echo $2) " in *" $1 "*) return 0 ;; esac; return 1; }

# missing NAME POINTS EXPECTED FOUND: what every answer may lack.
lacks() {
	case $4 in
	'') fail "$1" "$2" "$3" 'no such file, or an empty one' "The file $5 is not written yet." ;;
	sha256:*) return 1 ;;
	blobs/* | lunch/* | /*) fail "$1" "$2" "$3" "$4" 'That is the path of a file. A digest is the function and the digits: sha256: and 64 digits.' ;;
	*)
		if [ ${#4} = 64 ]; then
			fail "$1" "$2" "$3" "$4" 'A digest says which function it was made with: sha256: is part of it.'
		else
			fail "$1" "$2" "$3" "$4" 'A digest is whole: sha256: and all 64 digits. Short ones are for people to look at.'
		fi
		;;
	esac
}

name='config names the config of the image'
found=$(answer config) form='sha256: and 64 digits, the manifest has them'
if [ $have = no ]; then
	fail "$name" 3 "$image" 'no such image' "$gone"
elif [ "$found" = "$config" ]; then
	pass "$name" 3 "$found"
elif lacks "$name" 3 "$form" "$found" config; then
	:
elif [ "$found" = "$manifest" ]; then
	fail "$name" 3 "$form" "$found" 'That is the manifest: the list of the parts. The config is one of the parts; its digest is also the IMAGE ID in `tiffin images`.'
elif of "$found" "$layers"; then
	fail "$name" 3 "$form" "$found" 'That is a layer: a tarball. The config is a text that says how to start a container.'
else
	fail "$name" 3 "$form" "$found" 'No part of this image has that digest. Was a byte added when you computed it, or is it from another image?'
fi

name="layer names the layer that has /srv/$SPICE"
found=$(answer layer) form='sha256: and 64 digits, the manifest has them'
if [ $have = no ]; then
	fail "$name" 3 "$image" 'no such image' "$gone"
elif [ "$found" = "$brought" ]; then
	pass "$name" 3 "$found"
elif lacks "$name" 3 "$form" "$found" layer; then
	:
elif [ "$found" = "$hides" ]; then
	fail "$name" 3 "$form" "$found" "That layer has .wh.$SPICE, the whiteout: an empty file that hides. What it hides is in a layer below."
elif of "$found" "$layers"; then
	fail "$name" 3 "$form" "$found" "That layer has nothing to do with /srv/$SPICE: list its names with tar tf."
elif [ "$found" = "$manifest" ] || [ "$found" = "$config" ]; then
	fail "$name" 3 "$form" "$found" 'That is text, not a layer. In the manifest the layers come after the config.'
else
	fail "$name" 3 "$form" "$found" 'The image has no layer with that digest.'
fi

name="recipe is what /srv/$SPICE was"
form="one line about $SPICE"
if [ $have = no ]; then
	fail "$name" 4 "$image" 'no such image' "$gone"
elif [ ! -f recipe ]; then
	fail "$name" 4 "$form" 'no file named recipe' 'A deleted file is hidden, not gone: it is still in the tarball of the layer that brought it.'
elif [ ! -s recipe ]; then
	fail "$name" 4 "$form" 'an empty file' 'Empty is the whiteout, which only hides. Take the file itself, from the layer below.'
else
	found=$(answer recipe)
	if [ "$found" = "$recipe" ]; then
		pass "$name" 4 "$found"
	elif [ "$found" = "rice with $SPICE" ] || [ "$found" = closed ]; then
		fail "$name" 4 "$form" "$found" "That is another file of the image. The recipe is /srv/$SPICE."
	else
		fail "$name" 4 "$form" "$found" 'Those are other bytes than those in the layer. `tar xOf LAYER srv/NAME` prints a file of a tarball.'
	fi
fi
