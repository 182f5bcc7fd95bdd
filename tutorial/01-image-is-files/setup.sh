# An image of three layers: the built-in one, a recipe, and the recipe's deletion. Nothing is run
# for it, so that the lab works where no container can.
IMAGE=$P.example/lunch:$TAG
rm -rf srv
mkdir srv
echo "rice with $SPICE" >srv/menu
echo "$GRAMS grams of $SPICE, $MINUTES minutes" >"srv/$SPICE"
tar --owner=0 --group=0 -cf recipe.tar srv
rm -r srv/*
touch "srv/.wh.$SPICE"
echo closed >srv/door
tar --owner=0 --group=0 -cf deletion.tar srv
stack "$P.example/half:$TAG" tiffin/base recipe.tar deletion.tar
printf 'FROM %s\nENV PATH=/usr/local/bin:/bin\nCMD cat /srv/menu\n' "$P.example/half:$TAG" | tiffin build -q -t "$IMAGE" - >/dev/null
tiffin rmi "$P.example/half:$TAG" >/dev/null
rm -r srv recipe.tar deletion.tar
