t=$(mktemp -d)
trap 'rm -rf "$t"; tiffin rmi "$P.example/check" >/dev/null 2>&1 || :' EXIT
box=$P-diet

# facts: for each file of the shelf in the upper directory: name, and which of the marks of
# tiffin's upper directory (see image/layer) it has: origin = continues a file of a layer,
# metacopy = its data is still there.
facts='' upper='' gone=
if ! as_made "$P.example/shelf:latest"; then gone="The image $P.example/shelf is gone or another: \`tiffin lab reset\` makes it again."; fi
if of_image "$box" "$P.example/shelf:latest" && upper=$(tiffin inspect --type container -f '{{.GraphDriver.Data.UpperDir}}' "$box" 2>/dev/null); then
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
none="There is no container of that name made of $P.example/shelf: one of run --rm is deleted when it ends."

now=$(how "$A")
size='' last=''
if [ -n "$upper" ] && [ -f "$upper/$SHELF/$A" ]; then
	size=$(wc -c <"$upper/$SHELF/$A" | tr -d ' ')
	last=$(tail -c "$((LETTERS + 1))" "$upper/$SHELF/$A" | tr -d '\000')
fi
case $now in
'no container') why=$none ;;
'not in the upper directory') why='Nothing of it has been changed yet.' ;;
'metadata only') why='Its mode is another one, or there is not just this one line more.' ;;
*) why='Its old data was copied, or it is a new file: chmod and appending leave the old data in the layer. Begin again with a new container.' ;;
esac
same 'the first file has the new mode and line, and its old data is in the layer' 2 \
	"metadata only, mode $MODE, $((SIZE_A + LETTERS + 1)) bytes, last line $WORD" \
	"$now, mode $(mode "$A"), $size bytes, last line $last" "$why"

now=$(how "$B")
text=
if [ "$now" = 'with its data' ] || [ "$now" = 'another file of that name' ]; then
	{
		printf %s "$WORD"
		yes "$B" | head -c "$SIZE_B" | tail -c "+$((LETTERS + 1))"
	} >"$t/want"
	if cmp -s "$t/want" "$upper/$SHELF/$B"; then text=', text as wanted'; else text=', another text'; fi
fi
case $now in
'no container') why=$none ;;
'with its data') why='Its text must be the old one but for the first bytes: with > all of the old one is lost; dd needs conv=notrunc.' ;;
'another file of that name') why='That is a new file under the old name, with another inode number: many editors, sed -i and mv make one. Write into the file itself.' ;;
*) why='Nothing has been written over its beginning.' ;;
esac
same 'the second file is the same file with another beginning' 2 'with its data, text as wanted' "$now$text" "$why"

now=$(how "$C")
case $now in 'no container') why=$none ;; *) why='Reading copies nothing up; this file has been changed, if only its times (touch).' ;; esac
same 'the third file is only in the layer' 1 'not in the upper directory' "$now" "$why"

now=$(how "$D.old")
if [ "$now" = 'metadata only' ] && [ -n "$(mode "$D")" ]; then now='metadata only, and the old name too'; fi
case $now in
'no container') why=$none ;;
*only*) why='The old name is still there: that is one more name, not another one.' ;;
'not in the upper directory') why='There is nothing with the new name.' ;;
*) why='That is a copy: cp reads and writes all data and makes a new file. Renaming changes a name, not data.' ;;
esac
same 'the fourth file is renamed and no data of its own' 2 'metadata only' "$now" "$why"

# The numbers of tiffin, by doing it all again.
tiffin rm "$P-check" >/dev/null 2>&1 || :
copied=0 committed=0
if [ -z "$gone" ]; then
	tiffin run --name "$P-check" -w "/$SHELF" --trace="$t/trace" --trace-op WRITE "$P.example/shelf" \
		sh -c 'echo "$4" >>"$0"; chmod "$3" "$0"; printf %s "$4" | dd of="$1" conv=notrunc 2>/dev/null; mv "$2" "$2.old"' \
		"$A" "$B" "$D" "$MODE" "$WORD"
	for n in $(sed -n 's/.*copied up \([0-9]*\) bytes.*/\1/p' "$t/trace"); do copied=$((copied + n)); done
	tiffin commit "$P-check" "$P.example/check" >/dev/null
	committed=$(tiffin layers --format json "$P.example/check" | head -n 1 | tiffin lab json '{{.bytes}}')
	tiffin rm "$P-check" >/dev/null
fi
# predicted NAME FILE TRUTH WHY
predicted() {
	if [ -n "$gone" ]; then
		fail "$1" 2 'a number of bytes' '' "$gone"
		return
	fi
	case $(digits "$2") in
	"$3") pass "$1" 2 "$3" ;;
	'') fail "$1" 2 'a number' '' "Write the number into a file called $2; a wrong prediction costs nothing." ;;
	*) fail "$1" 2 'the number of bytes' "$(digits "$2")" "$4" ;;
	esac
}
# digits FILE: the number in it, whatever separates its thousands.
digits() { answer "$1" | tr -d ' ,._'; }
got=$(digits copied)
case $got in
$((2 * LETTERS + 1)) | $((LETTERS + 1)) | "$LETTERS") why='That is what was written. The file system copies the whole file before it can change what is in the middle of it.' ;;
$((SIZE_A + SIZE_B)) | $((SIZE_A + SIZE_B + LETTERS + 1))) why='Appending copies nothing here: only what is new is kept, and the old data is read from the layer.' ;;
$((SIZE_A + SIZE_B + SIZE_D)) | $((SIZE_A + SIZE_B + SIZE_D + LETTERS + 1))) why='Changing a mode or a name copies metadata only, and appending copies nothing; count the files whose old data changed.' ;;
$((SIZE_A + SIZE_B + SIZE_C + SIZE_D))) why='Reading copies nothing, and changing a mode or a name copies metadata only.' ;;
*) why='It is the size of each file whose old data changed, and of no other.' ;;
esac
predicted 'the number of bytes copied up' copied "$copied" "$why"

# Documentation/filesystems/overlayfs.rst, "Non-directories": a copy-up comes before the change, so
# it has the old size. Calculated, as not every machine has overlayfs without root.
kernel=$((SIZE_A + SIZE_B + SIZE_D))
got=$(digits overlay)
case $got in
"$SIZE_B") why='That is what tiffin copies. Overlayfs without metacopy=on has no entry for metadata alone and cannot keep just what is appended.' ;;
$((kernel - SIZE_D))) why='Overlayfs copies a file of a layer before it renames it: the new name needs a file in the upper directory.' ;;
$((kernel + LETTERS + 1))) why='The copy comes first and has the old size. What is appended is written to it then, not copied.' ;;
$((kernel + SIZE_C))) why='Overlayfs copies when a file is opened for writing; reading copies nothing there either.' ;;
*) why='It is the old size of each file that is changed in any way, in its data, its mode or its name.' ;;
esac
predicted 'the number of bytes that overlayfs would copy up' overlay "$kernel" "$why"

got=$(digits committed)
case $got in
$((SIZE_B + LETTERS + 1)) | "$SIZE_B") why='A tarball cannot have a mode or an end without the rest: every file that is changed in any way, or renamed, is written whole.' ;;
$((committed - LETTERS - 1))) why='The line that you added is data too.' ;;
*) why='Add the present sizes of all files that diff shows as changed or added.' ;;
esac
predicted 'the number of bytes in the new layer' committed "$committed" "$why"
