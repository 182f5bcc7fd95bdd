# says: if only its times (touch)
. "$LAB/solution.sh"
tiffin rm "$P-diet"
tiffin run --name "$P-diet" -w "/$SHELF" "$P/shelf" \
	sh -c "chmod $MODE $A; echo $WORD >>$B; touch $C; mv $D $D.old"
