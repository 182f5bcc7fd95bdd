# says: if only its times (touch)
. "$LAB/solution.sh"
tiffin rm "$P-diet"
tiffin run --name "$P-diet" -w "/$SHELF" "$P.example/shelf" \
	sh -c "echo $WORD >>$A; chmod $MODE $A; printf $WORD | dd of=$B conv=notrunc; touch $C; mv $D $D.old"
