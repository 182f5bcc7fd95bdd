# says: the name can still be seen
rm "upper/pantry/$GONE"
: >"upper/pantry/$GONE"
touch "upper/pantry/$BOX/.wh..wh..opq"
tar -cf layer.tar -C upper pantry
