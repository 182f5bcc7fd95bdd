# Looks at the state and changes nothing. What is expected is worked out here,
# never stored. Each run reports the same names with the same points:
#
#   pass NAME POINTS [EVIDENCE]
#   fail NAME POINTS EXPECTED FOUND WHY [EVIDENCE]
#   same NAME POINTS EXPECTED FOUND WHY      passes if they are equal
#   unsupported WHY                          the machine lacks something; ends
#
# WHY is for the student: the misconception that this wrong answer suggests.
# A student can learn from that only if each mistake has words of its own.
digest() { sha256sum <"$1" | cut -d ' ' -f 1; }
want=sha256:$(digest box-2)
found=$(answer answer)

name='box-2 is as it was'
made=$(echo "two times $DISH, $((2 * WEIGHT)) grams" | sha256sum | cut -d ' ' -f 1)
same "$name" 2 "sha256:$made" "$want" \
	'You changed the content, and with it the digest. `tiffin lab reset` makes it anew.'

name='the answer is the digest of box-2'
form='sha256: and the 64 digits for box-2' # says what, does not give it away
case $found in
"$want") pass "$name" 8 "$found" ;;
'')
	fail "$name" 8 "$form" 'no file named answer, or an empty one' \
		'Nothing is answered yet.'
	;;
"${want#sha256:}")
	fail "$name" 8 "$form" "$found" \
		'A digest says which function it was computed with: sha256: is part of it.'
	;;
"sha256:$(digest box-1)")
	fail "$name" 8 "$form" "$found" \
		'That is the digest of box-1: another content has another digest.'
	;;
"sha256:$(printf box-2 | sha256sum | cut -d ' ' -f 1)")
	fail "$name" 8 "$form" "$found" \
		'That is the digest of the name. The name is no part of the content.'
	;;
*)
	fail "$name" 8 "$form" "$found" \
		'These are other bytes than those of box-2; is something before or after it?'
	;;
esac
