tiffin run --name "$P-diet" -w "/$SHELF" "$P/shelf" \
	sh -c "chmod $MODE $A; echo $WORD >>$B; cat $C >/dev/null; mv $D $D.old"
echo "$SIZE_B" >copied
echo $((SIZE_A + SIZE_B + SIZE_D + ${#WORD} + 1)) >committed
