# says: cp reads and writes all data and makes a new file
. "$LAB/solution.sh"
tiffin rm "$P-diet"
tiffin run --name "$P-diet" -w "/$SHELF" "$P.example/shelf" \
	sh -c "echo $WORD >>$A; chmod $MODE $A; printf $WORD | dd of=$B conv=notrunc; cat $C >/dev/null; cp $D $D.old; rm $D"
