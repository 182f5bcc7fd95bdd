# says: a shell waits for its children
orphans= i=0
while [ "$i" -lt "$N" ]; do orphans="$orphans sleep 1 &" i=$((i + 1)); done
tiffin run -d --name "$PLAIN" tiffin/base sh -c "sh -c '$orphans'; sleep 1000; true"
tiffin run -d --name "$INIT" --init tiffin/base sh -c "sh -c '$orphans'; sleep 1000; true"
