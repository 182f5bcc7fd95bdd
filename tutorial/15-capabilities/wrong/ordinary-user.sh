# says: the process is no root
tiffin run -d --name "$TILL" --network none --cap-drop ALL --cap-add "$CAP" -u 1000 "$IMAGE" sleep "$NAPS"
echo "CAP_$CAP" >missing
