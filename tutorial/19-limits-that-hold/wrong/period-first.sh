# says: first the time that it may run, then the period
tiffin run -d --limits cgroup --cpus 1 --name "$OVEN" tiffin/base sleep 5000
group=/sys/fs/cgroup$(grep ^0:: "/proc/$(tiffin inspect -f '{{.State.Pid}}' "$OVEN")/cgroup" | cut -d : -f 3)
echo "100000 ${PERCENT}000" >"$group/cpu.max"
