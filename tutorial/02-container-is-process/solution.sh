tiffin run -d --name "$P-$NAME" tiffin/base sleep "$NAPS" >/dev/null
tiffin inspect --format '{{.State.Pid}}' "$P-$NAME" >pid
kill -"$((STATUS - 128))" "$(tiffin inspect --format '{{.State.Pid}}' "$P-old")"
tiffin wait "$P-old" >/dev/null
