# says: With the container its exit status is gone
tiffin rm -f "$P-old" >/dev/null
