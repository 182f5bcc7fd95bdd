t=$(mktemp -d)
trap 'rm -rf "$t"' EXIT

# verdict: what chown's message on standard input means.
verdict() {
	text=$(cat)
	case $text in
	'') echo ok ;;
	*'nvalid argument'*) echo EINVAL ;;
	*'peration not permitted'*) echo EPERM ;;
	*) echo "$text" ;;
	esac
}
inside() { tiffin run --rm --root-emulation off "$@" 2>/dev/null || :; } # what tiffin notes is no verdict

# predicted LINE WHAT TRUTH
predicted() {
	got=$(sed -n "s/^ *$1  *\([^ ]*\) *$/\1/p" predict 2>/dev/null | head -n 1)
	case $got in
	'' | *\?*)
		fail "$2" 1 'ok, EPERM or EINVAL' "$got" 'Replace the ? by ok, EPERM or EINVAL; a wrong prediction costs nothing.'
		return
		;;
	esac
	case $got:$3 in
	ok:EPERM) why='A file that is yours is not yours to give away: that would let you get round quotas. It takes CAP_CHOWN.' ;;
	ok:EINVAL) why='Root in a user namespace is root over the ids in its map only; this id is not in it, so it does not exist there.' ;;
	EPERM:EINVAL) why='EPERM is for ids that exist and that you may not use. An id that is not in the map is no id at all.' ;;
	EINVAL:EPERM) why='The id exists here: outside of user namespaces the map has all ids. What is missing is the permission.' ;;
	*:ok) why='This id is in the map, and there you have CAP_CHOWN: look at the third column of uid_map.' ;;
	*) why='The answer is ok, EPERM or EINVAL: compare with /proc/self/uid_map, outside and in a container.' ;;
	esac
	if [ "$got" = "$3" ]; then pass "$2" 1 "$got"; else fail "$2" 1 'what chown says' "$got" "$why"; fi
}
: >"$t/mine"
# A container in which hand-ins are replayed cannot tell what is so outside.
outside=EPERM
if grep -q '^ *0 *0 *4294967295$' /proc/self/uid_map; then outside=$(LC_ALL=C chown "$NEW" "$t/mine" 2>&1 | verdict); fi
predicted outside 'what chown to another id does outside' "$outside"
single=$(inside --userns single tiffin/base sh -c "exec 2>&1; : >/mine; chown 0 /mine; echo and; chown $NEW /mine")
predicted single-0 'what chown to 0 does with one mapped id' "$(printf '%s\n' "$single" | sed '/^and$/,$d' | verdict)"
predicted "single-$NEW" 'what chown to another id does with one mapped id' "$(printf '%s\n' "$single" | sed -n '/^and$/,$p' | sed 1d | verdict)"
predicted "default-$NEW" 'what chown to another id does in an ordinary container' \
	"$(inside tiffin/base sh -c "exec 2>&1; : >/mine; chown $NEW /mine" | verdict)"

# entry PATH: mode and owner as the top layer of the image that has it says.
entry() {
	tiffin why --type image --format json "$P.example/fixed" "$1" 2>/dev/null |
		sed -n 's/.*"decides":true,.*"entry":"file \([^"]*\)".*/\1/p'
}
# The new image has the layers of the old one, and one more.
layers=$(tiffin inspect --type image -f '{{range .RootFS.Layers}}{{.}},{{end}}' "$P.example/fixed" 2>/dev/null) || layers=
of="$(made image "$P.example/desk:latest" layers),"
case $layers in "$of"*) foreign= ;; *) foreign="an image on other layers" ;; esac

got=$(entry "/desk/$LETTER")
if [ -n "$got" ] && [ -n "$foreign" ]; then got=$foreign; fi
case $got in
'') why="There is no image $P.example/fixed with this file: commit the container." ;;
"$foreign") why="It must be made of $P.example/desk, as it was at the start: run a container of that and commit it." ;;
"0640 0:0") why='Root is who you are inside, and so the owner of what you make or chown there; the remembered owner is another thing: see the attribute of the file in the upper directory.' ;;
"0640 $OWNER:$OWNER") why='chmod has kept the owner. To change it, change what is remembered: the attribute of the file in the upper directory.' ;;
*"$NEW:$GROUP") why='The mode is remembered beside the owner, in the same attribute.' ;;
*"$(id -u):$(id -g)") why='That is you: whose the file is on the disk of this machine. An image knows its own numbers only.' ;;
*) why='The attribute is UID:GID:0MODE:file' ;;
esac
same 'the first paper has the new owner' 3 "0640 $NEW:$GROUP" "$got" "$why"

got=$(entry "/desk/$LEDGER")
if [ -n "$got" ] && [ -n "$foreign" ]; then got=$foreign; fi
case $got in
'') why="There is no image $P.example/fixed with this file: commit the container." ;;
"$foreign") why="It must be made of $P.example/desk, as it was at the start: run a container of that and commit it." ;;
*"$OWNER:$OWNER") why='Its mode is another one.' ;;
*' 0:0') why='Its owner is lost: a copy is a new file and belongs to who made it, and chown 0 means it, even where root is shown already. chmod keeps the owner.' ;;
*) why='Its owner must stay as the image has it: change nothing but the mode.' ;;
esac
same 'the second paper has another mode and its old owner' 2 "0600 $OWNER:$OWNER" "$got" "$why"
