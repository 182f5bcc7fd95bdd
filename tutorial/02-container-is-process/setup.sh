# A container to be ended. With --init, PID 1 hands on signals.
tiffin rm -f "$P-old" "$P-$NAME" "$P-try" >/dev/null 2>&1 || true
tiffin run -d --init --name "$P-old" tiffin/base sleep 100000 >/dev/null
