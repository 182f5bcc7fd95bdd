# says: so the kernel discards it
. "$LAB/solution.sh"
sed "s/[$]SIG/$SIG/g" >entry <<'END'
"$@" &
wait
END
