# says: a second tmpfs is not a view
room() { tiffin enter "$ROOM" "$@"; }
room mount -t tmpfs none "/srv/$A"
room mount --make-shared "/srv/$A"
room mount --bind "/srv/$A" "/srv/$B"
room mount --make-slave "/srv/$B"
room mount -t tmpfs none "/srv/$C"
room mkdir "/srv/$A/$NEW" "/srv/$A/$OWN" "/srv/$C/$NEW"
room mount -t tmpfs none "/srv/$A/$NEW"
room mount -t tmpfs none "/srv/$B/$OWN"
