# says: That is a new file under the old name
. "$LAB/solution.sh"
tiffin rm "$P-diet"
tiffin run --name "$P-diet" -w "/$SHELF" "$P.example/shelf" \
	sh -c "echo $WORD >>$A; chmod $MODE $A; tail -c +$((LETTERS + 1)) $B >old; printf $WORD >new; cat old >>new; rm old; mv new $B; cat $C >/dev/null; mv $D $D.old"
