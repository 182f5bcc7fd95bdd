tiffin unshare -Urpf --mount-proc sleep 1000 </dev/null >/dev/null 2>&1 &
for _ in 1 2 3 4 5 6 7 8 9 10; do # until it is the sleep, and no longer the unshare
    sleep 0.5
    child=$(cat "/proc/$!/task/"*/children | tr -d ' ')
    if grep -qs sleep "/proc/$child/comm"; then break; fi
done
echo "$child" >pid

orphans= i=0
while [ "$i" -lt "$N" ]; do orphans="$orphans sleep 1 &" i=$((i + 1)); done
tiffin run -d --name "$PLAIN" tiffin/base sh -c "sh -c '$orphans'; exec sleep 1000"
tiffin run -d --name "$INIT" --init tiffin/base sh -c "sh -c '$orphans'; exec sleep 1000"
