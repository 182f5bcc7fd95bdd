# says: so they are one host
tiffin unshare -Urn sleep "$NAPS" >/dev/null 2>&1 &
A=$!
until grep -qs sleep "/proc/$A/comm"; do sleep 0.1; done
tiffin enter -U -n -t "$A" sleep "$NAPS" >/dev/null 2>&1 &
B=$!
until grep -qs sleep "/proc/$B/comm"; do sleep 0.1; done
onA="tiffin enter -U -n -t $A" onB="tiffin enter -U -n -t $B"
echo "$A" >left
echo "$B" >right
