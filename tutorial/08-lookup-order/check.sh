t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT

# What the file system really does, seen in the trace of a new container.
gone=
if ! as_made "$P.example/meal:latest"; then gone="The image $P.example/meal is gone or another: \`tiffin lab reset\` makes it again."; fi
if [ -z "$gone" ]; then tiffin run --rm --trace="$t/trace" --trace-op LOOKUP --trace-path /menu "$P.example/meal:latest" \
	sh -c 'for f; do test -e "/menu/$f"; done; true' sh "$A" "$B" "$C" "$D"; fi
columns() { sed -n "s|.* LOOKUP  *\([^ ]*\)  /menu/$1: .*|\1|p" "$t/trace" 2>/dev/null | head -n 1; }

reversed() { printf '%s' "$1" | sed 's/\(.\)\(.\)\(.\)\(.\)\(.\)\(.\)/\6\5\4\3\2\1/'; }

# from_below LAYERS: the columns if the search began at layer 0.
from_below() {
	case ${1%% *} in
	1) echo ----#. ;;
	2) echo ---#.. ;;
	esac
}

# all_asked LAYERS: the columns if nobody stopped at the first that has it.
all_asked() {
	r=.
	for n in 4 3 2 1 0; do
		case " $1 " in *" $n "*) r=$r# ;; *) r=$r. ;; esac
	done
	echo "$r"
}

# lookup NAME LAYERS: compares the student's columns for NAME.
lookup() {
	want=$(columns "$1")
	got=$(sed -n "s/^ *$1  *\([^ ]*\) *$/\1/p" predict 2>/dev/null | head -n 1)
	name="the lookup of /menu/$1"
	if [ -n "$gone" ]; then
		fail "$name" 2 'six columns' "$got" "$gone"
		return
	fi
	case $got in
	'' | *\?*)
		fail "$name" 2 'six columns' "$got" 'A line of the file predict is the name and six columns; a wrong prediction costs nothing.'
		return
		;;
	??????) why= ;;
	*) why='There are six columns: upper, layers 4, 3, 2, 1, 0.' ;;
	esac
	if [ -n "$why" ] || [ "$got" = "$want" ]; then
		:
	elif [ -z "$2" ] && [ "$got" = ------ ]; then
		why='A name that nobody has is the most expensive of all: it is only known to be missing when every layer has been asked.'
	elif [ -z "$2" ]; then
		why='No tarball has this name, so nobody can answer with #, and nothing stops the search.'
	elif [ "$got" = ...... ]; then
		why='You took the name for missing: a directory in a higher layer does not hide the names of the same directory below, they are merged.'
	elif [ "$got" = "$(all_asked "$2")" ]; then
		why='You let the search go on after the first # : it stops there, and the places below are not asked (-).'
	elif [ "$got" = "$(from_below "$2")" ]; then
		why='You began at the bottom: the newest layer is on top, it is asked first, and it wins.'
	elif [ "$got" = "$(reversed "$want")" ]; then
		why='You wrote the columns from the bottom to the top: the first column is the upper directory, the last is layer 0.'
	else
		why='Look with tar -tf which layers have the name; from the left: a dot for each that has nothing, # for the first that has it, then -.'
	fi
	if [ "$got" = "$want" ]; then pass "$name" 2 "$got"; else fail "$name" 2 'what a trace shows' "$got" "$why"; fi
}
for dish in cake fish rice soup; do
	case $dish in
	"$A") lookup "$dish" "$IN_A" ;;
	"$B") lookup "$dish" "$IN_B" ;;
	"$C") lookup "$dish" "$IN_C" ;;
	"$D") lookup "$dish" '' ;;
	esac
done

# The container: who answers now, and with what?
if upper=$(tiffin inspect --type container -f '{{.GraphDriver.Data.UpperDir}}' "$P-mine" 2>/dev/null); then
	decides=$(tiffin why --type container --format json "$P-mine" "/menu/$B" |
		sed -n 's/^{"layer":"\([^"]*\)",.*"decides":true,.*/\1/p')
	# What was only appended to has a hole in the upper directory, where the layer's data goes on.
	found=$(if [ "$decides" = upper ]; then tr '\000' '~' <"$upper/menu/$B" | sed 's/^~~*/the old line, /' | paste -sd' '; fi)
	changed=$(tiffin diff "$P-mine" | sed 's/^. //' | sort | paste -sd' ')
	gone='The layers cannot be written: a change must be made by a command that runs in the container.'
	if ! of_image "$P-mine" "$P.example/meal:latest"; then
		decides='a container of another image' gone="It must be made of $P.example/meal, as it was at the start."
	fi
else
	decides='no container' found='' changed=''
	gone='There is no such container: a container of `run --rm` is deleted with its upper directory when it ends, and `commit` makes an image, not a container.'
fi
same "the upper directory answers for the changed name in $P-mine" 2 upper "$decides" "$gone"
same 'the changed name has the new line' 1 "$SPICE" "$found" \
	'The file must have that one word and no more: with >> the old content stays.'
same 'nothing else is in the upper directory' 1 "/menu /menu/$B" "$changed" \
	'Everything that the upper directory has is answered by it, even if it looks the same as below: touch only this one file.'
