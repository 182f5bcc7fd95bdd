t=$(mktemp -d)
trap 'rm -rf "$t"; tiffin rmi "$P/check" >/dev/null 2>&1 || :' EXIT
box=$P-diet

# facts: for each file of the shelf in the upper directory: name, and which of the marks of
# tiffin's upper directory (see fs/layer) it has: origin = continues a file of a layer,
# metacopy = its data is still there.
facts='' upper=''
if upper=$(tiffin inspect --type container -f '{{.GraphDriver.Data.UpperDir}}' "$box" 2>/dev/null); then
	facts=$(tiffin run --rm -v "$upper:/upper:ro" tiffin/base sh -c '
		cd "/upper/$1" 2>/dev/null || exit 0
		for f in *; do
			test -f "$f" || continue
			m="$f "
			for a in origin metacopy; do getfattr -n "user.tiffin.$a" "$f" >/dev/null 2>&1 && m="$m $a"; done
			echo "$m"
		done' sh "$SHELF")
fi
# how NAME: whether it is in the upper directory, and how.
how() {
	if [ -z "$upper" ]; then echo 'no container'; return; fi
	case $(printf '%s\n' "$facts" | sed -n "s/^$1 //p") in
	*metacopy*) echo 'metadata only' ;;
	*origin*) echo 'with its data' ;;
	'') if printf '%s\n' "$facts" | grep -q "^$1 "; then echo 'another file of that name'; else echo 'not in the upper directory'; fi ;;
	esac
}
# mode NAME: as the container shows it.
mode() {
	tiffin why --type container --format json "$box" "/$SHELF/$1" 2>/dev/null |
		sed -n 's/.*"decides":true,.*"entry":"file 0\([0-7]*\) .*/\1/p'
}
none='there is no container of that name: one of run --rm is deleted when it ends'

now=$(how "$A")
case $now in
'no container') why=$none ;;
'not in the upper directory') why='nothing of it has been changed yet' ;;
'metadata only') why='its mode is another one' ;;
*) why='its data was copied, or it is a new file with a copy: chmod alone changes metadata only. Begin again with a new container' ;;
esac
same 'the first file has the new mode and no data of its own' 2 "metadata only, mode $MODE" "$now, mode $(mode "$A")" "$why"

now=$(how "$B")
text=
if [ "$now" = 'with its data' ] || [ "$now" = 'another file of that name' ]; then
	yes "$B" | head -c "$SIZE_B" >"$t/want"
	echo "$WORD" >>"$t/want"
	if cmp -s "$t/want" "$upper/$SHELF/$B"; then text=', text as wanted'; else text=', another text'; fi
fi
case $now in
'no container') why=$none ;;
'with its data') why='its text must be the old one and one line more: with > the old one is lost' ;;
'another file of that name') why='that is a new file under the old name, with another inode number: many editors, sed -i and mv make one. Write to the file itself' ;;
*) why='no data has been written to it' ;;
esac
same 'the second file is the same file with one line more' 2 'with its data, text as wanted' "$now$text" "$why"

now=$(how "$C")
case $now in 'no container') why=$none ;; *) why='reading copies nothing up; this file has been changed, if only its times (touch)' ;; esac
same 'the third file is only in the layer' 1 'not in the upper directory' "$now" "$why"

now=$(how "$D.old")
if [ "$now" = 'metadata only' ] && [ -n "$(mode "$D")" ]; then now='metadata only, and the old name too'; fi
case $now in
'no container') why=$none ;;
*only*) why='the old name is still there: that is one more name, not another one' ;;
'not in the upper directory') why='there is nothing with the new name' ;;
*) why='that is a copy: cp reads and writes all data and makes a new file. Renaming changes a name, not data' ;;
esac
same 'the fourth file is renamed and no data of its own' 2 'metadata only' "$now" "$why"

# The two numbers, by doing it all again.
tiffin rm "$P-check" >/dev/null 2>&1 || :
tiffin run --name "$P-check" -w "/$SHELF" --trace="$t/trace" --trace-op WRITE "$P/shelf" \
	sh -c 'chmod "$4" "$0"; echo "$5" >>"$1"; mv "$3" "$3.old"' "$A" "$B" "$C" "$D" "$MODE" "$WORD"
want=0
for n in $(sed -n 's/.*copied up \([0-9]*\) bytes.*/\1/p' "$t/trace"); do want=$((want + n)); done
# predicted NAME FILE TRUTH WHY
predicted() {
	case $(digits "$2") in
	"$3") pass "$1" 2 "$3" ;;
	'') fail "$1" 2 'a number' '' "write the number into a file called $2; a wrong prediction costs nothing" ;;
	*) fail "$1" 2 'what tiffin counts' "$(digits "$2")" "$4" ;;
	esac
}
# digits FILE: the number in it, whatever separates its thousands.
digits() { answer "$1" | tr -d ' ,._'; }
got=$(digits copied)
case $got in
$((${#WORD} + 1)) | ${#WORD}) why='that is what was written. The file system copies the whole file before it can change a part of it' ;;
$((SIZE_A + SIZE_B + SIZE_D))) why='changing a mode or a name copies metadata only; count the files whose data changed' ;;
$((want + ${#WORD} + 1))) why='that is the size after the change: what is written after the copy is not copied' ;;
$((SIZE_A + SIZE_B + SIZE_C + SIZE_D))) why='reading copies nothing, and changing a mode or a name copies metadata only' ;;
*) why='it is the old size of each file whose data changed, and of no other' ;;
esac
predicted 'the number of bytes copied up' copied "$want" "$why"

tiffin commit "$P-check" "$P/check" >/dev/null
want=$(tiffin layers --format json "$P/check" | sed -n '1s/.*"bytes":\([0-9]*\).*/\1/p')
tiffin rm "$P-check" >/dev/null
got=$(digits committed)
case $got in
$((SIZE_B + ${#WORD} + 1)) | "$SIZE_B") why='a tarball cannot have a mode without data: files with changed metadata, and renamed ones, are written whole too' ;;
$((want - ${#WORD} - 1))) why='the line that you added is data too' ;;
*) why='add the present sizes of all files that diff shows as changed or added' ;;
esac
predicted 'the number of bytes in the new layer' committed "$want" "$why"
