# says: with >> the old content is copied up first and stays
. "$LAB/solution.sh"
tiffin rm "$P-mine"
tiffin run --name "$P-mine" "$P/meal" sh -c "echo $SPICE >>/menu/$B"
