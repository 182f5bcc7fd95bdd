# says: The mark makes the directory opaque that it is in
rm "upper/pantry/$GONE"
touch "upper/pantry/.wh.$GONE" "upper/pantry/.wh..wh..opq"
tar -cf layer.tar -C upper pantry
