# says: That was signal 15, TERM
tiffin stop "$P-old" >/dev/null
