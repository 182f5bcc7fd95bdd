# says: left needs a route
tiffin unshare -Urn sleep "$NAPS" >/dev/null 2>&1 &
A=$!
until grep -qs sleep "/proc/$A/comm"; do sleep 0.1; done
tiffin enter -U -t "$A" tiffin unshare -n sleep "$NAPS" >/dev/null 2>&1 &
B=$!
until grep -qs sleep "/proc/$B/comm"; do sleep 0.1; done
onA="tiffin enter -U -n -t $A" onB="tiffin enter -U -n -t $B"
echo "$A" >left
echo "$B" >right
$onA bin/ip link add wire type veth peer end
$onA bin/ip link set end netns "$B"
$onA bin/ip addr add "$LEFT/28" dev wire
$onA bin/ip link set wire up
$onB bin/ip addr add "$RIGHT/28" dev end
$onB bin/ip link set end up
$onB bin/ip link set lo up
$onB bin/ip addr add "$FAR/32" dev lo
