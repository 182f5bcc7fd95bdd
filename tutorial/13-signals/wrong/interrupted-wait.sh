# says: of a wait that
. "$LAB/solution.sh"
sed "s/[$]SIG/$SIG/g" >entry <<'END'
"$@" &
child=$!
trap 'kill -TERM $child' $SIG
wait $child
status=$?
kill -0 $child && sleep 1
exit $status
END
