# says: In a new namespace you only change a copy
tiffin enter -U -u "$DESK" tiffin unshare -u bin/hostname "$NAME"
