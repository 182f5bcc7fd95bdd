cat >effective <<END
memory $M2
pids $N1
END
tiffin run -d --limits cgroup --name "$OVEN" tiffin/base sleep 5000
group=/sys/fs/cgroup$(grep ^0:: "/proc/$(tiffin inspect -f '{{.State.Pid}}' "$OVEN")/cgroup" | cut -d : -f 3)
echo '+memory +pids +cpu' >"$(dirname "$group")/cgroup.subtree_control"
echo "${MIB}M" >"$group/memory.max"
if [ -e "$group/memory.swap.max" ]; then echo 0 >"$group/memory.swap.max"; fi
tiffin exec "$OVEN" dd if=/dev/zero of=/dev/null bs=120M count=1 || echo "killed"
echo "${PERCENT}000 100000" >"$group/cpu.max"
tiffin exec "$OVEN" timeout 1 sh -c 'while :; do :; done' || echo "ended"
echo "$PROCS" >"$group/pids.max"
for i in 1 2 3 4 5 6 7 8 9; do tiffin exec "$OVEN" sleep 3 & done
wait
