# says: is right only over the layer that you know
rm "upper/pantry/$GONE"
touch "upper/pantry/.wh.$GONE" "upper/pantry/$BOX/.wh.old-1" "upper/pantry/$BOX/.wh.old-2"
tar -cf layer.tar -C upper pantry
