# says: A slave still listens
room() { tiffin enter "$ROOM" "$@"; }
room mount -t tmpfs none "/srv/$A"
room mount --make-shared "/srv/$A"
for v in "$B" "$C"; do
    room mount --bind "/srv/$A" "/srv/$v"
    room mount --make-slave "/srv/$v"
done
room mkdir "/srv/$A/$NEW" "/srv/$A/$OWN"
room mount -t tmpfs none "/srv/$A/$NEW"
room mount -t tmpfs none "/srv/$B/$OWN"
