# says: is deleted with its upper directory when it ends
. "$LAB/solution.sh"
tiffin rm "$P-mine"
tiffin run --rm --name "$P-mine" "$P.example/meal" sh -c "echo $SPICE >/menu/$B"
