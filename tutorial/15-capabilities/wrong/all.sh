# says: never finds out why
tiffin run -d --name "$TILL" --network none --cap-add ALL "$IMAGE" sleep "$NAPS"
echo "CAP_$CAP" >missing
