# says: nobody left who could make a TERM
. "$LAB/solution.sh"
sed "s/[$]SIG/$SIG/g" >entry <<'END'
exec "$@"
END
