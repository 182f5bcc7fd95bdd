# says: The name must be set in it
tiffin enter -U -u "$DESK" bin/hostname "$NAME"
tiffin exec "$DESK" touch "/dev/mqueue/$QUEUE"
tiffin enter -U -i "$DESK" tiffin unshare -u sh -c "touch ready; exec sleep 1000" &
echo "$!" >clerk
until [ -e ready ]; do sleep 0.1; done
