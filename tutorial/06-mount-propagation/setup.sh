tiffin rm -f "$ROOM" >/dev/null 2>&1 || true
tiffin run -d --name "$ROOM" tiffin/base sleep 86400 >/dev/null
tiffin exec "$ROOM" mkdir "/srv/$A" "/srv/$B" "/srv/$C"
