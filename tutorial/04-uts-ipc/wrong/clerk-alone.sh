# says: an IPC namespace of its own
tiffin enter -U -u "$DESK" bin/hostname "$NAME"
tiffin exec "$DESK" touch "/dev/mqueue/$QUEUE"
tiffin unshare -Urui sh -c "bin/hostname $OTHER; touch ready; exec sleep 1000" &
echo "$!" >clerk
until [ -e ready ]; do sleep 0.1; done
