# says: with >> the old content stays
. "$LAB/solution.sh"
tiffin rm "$P-mine"
tiffin run --name "$P-mine" "$P.example/meal" sh -c "echo $SPICE >>/menu/$B"
