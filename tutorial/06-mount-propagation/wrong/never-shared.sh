# says: a private mount has no peers
room() { tiffin enter "$ROOM" "$@"; }
room mount -t tmpfs none "/srv/$A"
room mount --bind "/srv/$A" "/srv/$B"
room mount --make-slave "/srv/$B"
room mount --bind "/srv/$A" "/srv/$C"
room mkdir "/srv/$A/$NEW" "/srv/$A/$OWN"
room mount -t tmpfs none "/srv/$A/$NEW"
room mount -t tmpfs none "/srv/$B/$OWN"
