# says: That is a tmpfs
tiffin enter -U -u "$DESK" bin/hostname "$NAME"
tiffin exec "$DESK" touch "/dev/shm/$QUEUE"
