tiffin rm -f "$ROOM" >/dev/null 2>&1 || true
# tiffin itself is in the room, for its unshare.
tiffin run -d --name "$ROOM" -v "$(readlink -f "$LAB/../bin/tiffin"):/bin/tiffin:ro" tiffin/base sleep 86400 >/dev/null
tiffin exec "$ROOM" mkdir "/srv/$A" "/srv/$B" "/srv/$C"
