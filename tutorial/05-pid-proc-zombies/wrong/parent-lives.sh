# says: a parent that lives and never waits
children= i=0
while [ "$i" -lt "$N" ]; do children="$children sleep 1 &" i=$((i + 1)); done
tiffin run -d --name "$PLAIN" tiffin/base sh -c "$children exec sleep 1000"
tiffin run -d --name "$INIT" --init tiffin/base sh -c "$children exec sleep 1000"
