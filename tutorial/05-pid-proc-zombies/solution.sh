tiffin unshare -Urpf --mount-proc sleep 1000 </dev/null >/dev/null 2>&1 &
child=
until grep -qs sleep "/proc/$child/comm"; do # a sleep, and no longer an unshare
    sleep 0.1
    child=$(cat "/proc/$!/task/"*/children | tr -d ' ')
done
echo "$child" >pid

orphans= i=0
while [ "$i" -lt "$N" ]; do orphans="$orphans sleep 1 &" i=$((i + 1)); done
tiffin run -d --name "$PLAIN" tiffin/base sh -c "sh -c '$orphans'; exec sleep 1000"
tiffin run -d --name "$INIT" --init tiffin/base sh -c "sh -c '$orphans'; exec sleep 1000"
until [ "$(tiffin exec "$PLAIN" cat /proc/1/comm)" = sleep ]; do # the orphans are born by then
    sleep 0.1
done
