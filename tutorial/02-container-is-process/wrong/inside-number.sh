# says: It is number 1 only for itself
tiffin run -d --name "$P-$NAME" tiffin/base sleep "$NAPS" >/dev/null
tiffin exec "$P-$NAME" sh -c 'grep -l sleep /proc/[0-9]*/comm' | cut -d / -f 3 | head -n 1 >pid
