# says: That was signal 9, KILL
tiffin kill "$P-old" >/dev/null
tiffin wait "$P-old" >/dev/null
