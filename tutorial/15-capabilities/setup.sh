# An image with a file that nobody has a right to read, and a container without capabilities.
tiffin rm -f "$BOX" "$TILL" "$P-make" >/dev/null 2>&1 || :
tiffin run --name "$P-make" --network none tiffin/base \
    sh -c 'mkdir /till; echo the sum of the day >/till/closed; chmod 0 /till/closed'
tiffin commit "$P-make" "$IMAGE" >/dev/null
tiffin rm "$P-make" >/dev/null
tiffin run -d --name "$BOX" --network none --cap-drop ALL "$IMAGE" sleep 86400 >/dev/null
rm -f missing
