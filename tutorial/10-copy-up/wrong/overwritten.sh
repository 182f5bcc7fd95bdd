# says: with > the old one is lost
. "$LAB/solution.sh"
tiffin rm "$P-diet"
tiffin run --name "$P-diet" -w "/$SHELF" "$P/shelf" \
	sh -c "chmod $MODE $A; echo $WORD >$B; cat $C >/dev/null; mv $D $D.old"
