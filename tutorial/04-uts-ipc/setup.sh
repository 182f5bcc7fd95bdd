tiffin rm -f "$DESK" >/dev/null 2>&1 || true
tiffin run -d --name "$DESK" -h desk tiffin/base sleep 86400 >/dev/null
tiffin exec "$DESK" touch "/dev/mqueue/$OLD" ||
    unsupported "this kernel has no POSIX message queues (CONFIG_POSIX_MQUEUE)"
# The program of the built-in image is that command if its name says so.
rm -rf bin
mkdir bin
tiffin __userland >bin/hostname
chmod 755 bin/hostname
rm -f clerk
