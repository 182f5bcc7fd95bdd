# says: Your container runs a shell, which runs the command.
tiffin run -d --name "$P-$NAME" tiffin/base sh -c "sleep $NAPS; true" >/dev/null
