# says: Only events travel
room() { tiffin enter "$ROOM" "$@"; }
room mount -t tmpfs none "/srv/$A"
room mount --make-shared "/srv/$A"
room mkdir "/srv/$A/$NEW" "/srv/$A/$OWN"
room mount -t tmpfs none "/srv/$A/$NEW"
room mount --bind "/srv/$A" "/srv/$B"
room mount --make-slave "/srv/$B"
room mount --bind "/srv/$A" "/srv/$C"
room mount --make-private "/srv/$C"
room mount -t tmpfs none "/srv/$B/$OWN"
