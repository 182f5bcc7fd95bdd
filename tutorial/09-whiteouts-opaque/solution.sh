mkdir -p "layer/pantry/$BOX" layer/pantry/shelf
touch "layer/pantry/.wh.$GONE" "layer/pantry/$BOX/.wh..wh..opq"
cp "upper/pantry/$CHANGED" layer/pantry
cp "upper/pantry/$BOX/$FRESH" "layer/pantry/$BOX"
cp "upper/pantry/shelf/$ADDED" layer/pantry/shelf
tar -cf layer.tar -C layer pantry
rm -r layer
