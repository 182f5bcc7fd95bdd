# says: While a shell waits for a command in the foreground
. "$LAB/solution.sh"
sed "s/[$]SIG/$SIG/g" >entry <<'END'
trap 'kill -TERM $!' $SIG
"$@"
END
