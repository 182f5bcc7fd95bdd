# says: send TERM, whatever came
. "$LAB/solution.sh"
sed "s/[$]SIG/$SIG/g" >entry <<'END'
"$@" &
child=$!
trap 'kill -$SIG $child; wait $child; exit $?' $SIG
wait $child
END
