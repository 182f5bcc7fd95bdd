# says: made of the same image
tiffin run -d --name "$TILL" --network none --cap-drop ALL --cap-add "$CAP" tiffin/base sleep "$NAPS"
echo "CAP_$CAP" >missing
