# says: A container runs as long as its command, no longer.
tiffin run --name "$P-$NAME" tiffin/base true
