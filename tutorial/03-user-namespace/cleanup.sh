# The process that the student left running, if it is one.
pid=$(answer pid)
case $pid in
'' | *[!0-9]*) ;;
*)
	if [ "$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null)" = "sleep $NAPS " ]; then kill "$pid" || true; fi
	;;
esac
