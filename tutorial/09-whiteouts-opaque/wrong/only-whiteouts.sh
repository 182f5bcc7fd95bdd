# says: nothing new has come in its place
rm -r "upper/pantry/$GONE" "upper/pantry/$BOX"
touch "upper/pantry/.wh.$GONE" "upper/pantry/.wh.$BOX"
tar -cf layer.tar -C upper pantry
