# says: that is a new file under the old name
. "$LAB/solution.sh"
tiffin rm "$P-diet"
tiffin run --name "$P-diet" -w "/$SHELF" "$P/shelf" \
	sh -c "chmod $MODE $A; cat $B >new; echo $WORD >>new; mv new $B; cat $C >/dev/null; mv $D $D.old"
