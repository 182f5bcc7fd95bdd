# says: Process 1 ended before the worker
. "$LAB/solution.sh"
sed "s/[$]SIG/$SIG/g" >entry <<'END'
"$@" &
child=$!
trap 'kill -TERM $child; sleep 0.1; exit 0' $SIG
wait $child
END
