# says: a directory in a higher layer does not hide the names of the same directory below
{
	echo "$A ......"
	echo "$B ......"
	echo "$C .#----"
	echo "$D ......"
} >predict
tiffin run --name "$P-mine" "$P.example/meal" sh -c "echo $SPICE >/menu/$B"
