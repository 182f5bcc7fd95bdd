# says: with > all of the old one is lost
. "$LAB/solution.sh"
tiffin rm "$P-diet"
tiffin run --name "$P-diet" -w "/$SHELF" "$P.example/shelf" \
	sh -c "echo $WORD >>$A; chmod $MODE $A; printf $WORD >$B; cat $C >/dev/null; mv $D $D.old"
