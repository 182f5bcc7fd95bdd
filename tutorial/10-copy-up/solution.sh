tiffin run --name "$P-diet" -w "/$SHELF" "$P.example/shelf" \
	sh -c "echo $WORD >>$A; chmod $MODE $A; printf $WORD | dd of=$B conv=notrunc; cat $C >/dev/null; mv $D $D.old"
echo "$SIZE_B" >copied
echo $((SIZE_A + SIZE_B + SIZE_D)) >overlay
echo $((SIZE_A + LETTERS + 1 + SIZE_B + SIZE_D)) >committed
