# says: That is its parent: the tiffin that looks after it
tiffin run -d --name "$P-$NAME" tiffin/base sleep "$NAPS" >/dev/null
tiffin inspect --format '{{.State.SupervisorPid}}' "$P-$NAME" >pid
