tiffin rm -f "$DESK" >/dev/null 2>&1 || true
tiffin run -d --name "$DESK" -h desk tiffin/base sleep 86400 >/dev/null
tiffin exec "$DESK" touch "/dev/mqueue/$OLD" ||
    unsupported "this kernel has no POSIX message queues (CONFIG_POSIX_MQUEUE)"
# tiffin's binary under another name is that command of the built-in image.
mkdir -p bin
ln -sf "$(readlink -f "$(command -v tiffin)")" bin/hostname
rm -f clerk
