# says: A deleted file is hidden, not gone
tiffin run --rm "$P.example/lunch:$TAG" cat "/srv/$SPICE" 2>/dev/null >out || true
if [ -s out ]; then mv out recipe; fi
