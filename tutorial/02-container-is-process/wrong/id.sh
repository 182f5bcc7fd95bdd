# says: Names and IDs of containers are words
tiffin run -d --name "$P-$NAME" tiffin/base sleep "$NAPS" >pid
