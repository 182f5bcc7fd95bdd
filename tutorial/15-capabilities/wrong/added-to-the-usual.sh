# says: --cap-add adds to them. Drop ALL first
tiffin run -d --name "$TILL" --network none --cap-add "$CAP" "$IMAGE" sleep "$NAPS"
echo "CAP_$CAP" >missing
