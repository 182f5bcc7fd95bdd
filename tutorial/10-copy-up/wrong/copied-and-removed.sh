# says: cp reads and writes all data and makes a new file
. "$LAB/solution.sh"
tiffin rm "$P-diet"
tiffin run --name "$P-diet" -w "/$SHELF" "$P/shelf" \
	sh -c "chmod $MODE $A; echo $WORD >>$B; cat $C >/dev/null; cp $D $D.old; rm $D"
