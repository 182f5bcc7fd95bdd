tiffin rm -f "$ROOM" >/dev/null 2>&1 || true
tiffin run -d --name "$ROOM" tiffin/base \
    sh -c "mkdir -p /srv/$A /srv/$B /srv/$C; exec sleep 86400" >/dev/null
