tiffin run -d --name "$TILL" --network none --cap-drop ALL --cap-add "$CAP" "$IMAGE" sleep "$NAPS"
echo "CAP_$CAP" >missing
