# says: The paths in the tarball are those of the image
rm "upper/pantry/$GONE"
touch "upper/pantry/.wh.$GONE" "upper/pantry/$BOX/.wh..wh..opq"
tar -cf layer.tar upper
