# What runs is asked of tiffin, and looked at in /proc.
mine=$P-$NAME
state() { tiffin inspect --format "{{.State.$2}}" "$1" 2>/dev/null || true; } # CONTAINER FIELD
status=$(state "$mine" Status) pid=$(state "$mine" Pid)

name="the container $mine runs"
form="$mine of tiffin/base, running"
if [ "$status" = running ] && ! of_image "$mine" tiffin/base:latest; then status=other; fi
case $status in
running) pass "$name" 2 "process $pid" ;;
other) fail "$name" 2 "$form" 'a container of another image' 'What runs in it may be called sleep and be something else: it must be a container of tiffin/base.' ;;
'')
	other=$(tiffin ps -a --format '{{.Names}} {{.Command}}' | grep -c "sleep $NAPS" || true)
	if [ "$other" != 0 ]; then
		fail "$name" 2 "$form" 'a container with another name' 'A container has the name that --name gives it, or one by chance. The name is how you find it again.'
	else
		fail "$name" 2 "$form" 'no such container' 'There is no container of that name, running or ended.'
	fi
	;;
exited) fail "$name" 2 "$form" 'it has ended' 'A container runs as long as its command, no longer. With -d the command goes on in the background when `run` returns.' ;;
*) fail "$name" 2 "$form" "$status" '`tiffin create` makes a container without a process: nothing runs before `tiffin start`.' ;;
esac

name="its command is sleep $NAPS"
command=''
if [ "$status" = running ]; then command=$(tr '\0' ' ' <"/proc/$pid/cmdline" | sed 's/ $//'); fi
case $command in
"sleep $NAPS" | */"sleep $NAPS") pass "$name" 1 "$command" ;;
'') fail "$name" 1 "sleep $NAPS" 'no process' 'Without a running container there is no command to look at.' ;;
*sh*"sleep $NAPS"*) fail "$name" 1 "sleep $NAPS" "$command" 'Your container runs a shell, which runs the command. What comes after the image is executed as it is; no shell is needed.' ;;
*) fail "$name" 1 "sleep $NAPS" "$command" 'The container runs another command: what comes after the image is the command.' ;;
esac

name='pid is its number outside'
found=$(answer pid) form='the number in /proc, outside'
parent=''
if [ "$status" = running ]; then parent=$(sed -n 's/^PPid:[^0-9]*//p' "/proc/$pid/status"); fi
if [ -z "$found" ]; then
	fail "$name" 3 "$form" 'no file named pid, or an empty one' 'Nothing is answered yet: inspect tells the number.'
elif [ "$status" != running ]; then
	fail "$name" 3 "$form" "$found" "$mine does not run, so it has no number: a number belongs to a living process."
elif [ "$found" = "$pid" ]; then
	pass "$name" 3 "$found"
elif [ "$found" = 1 ]; then
	fail "$name" 3 "$form" "$found" 'It is number 1 only for itself, in its pid namespace. Outside, 1 is the first process of this machine.'
elif [ "$found" = "$parent" ]; then
	fail "$name" 3 "$form" "$found" 'That is its parent: the tiffin that looks after it, not the container.'
elif [ -z "${found##*[!0-9]*}" ]; then
	fail "$name" 3 "$form" "$found" 'A process has a number. Names and IDs of containers are words that tiffin made; the kernel does not know them.'
elif [ -d "/proc/$found" ]; then
	fail "$name" 3 "$form" "$found" 'That is a living process, but not that of the container; its comm tells what it is.'
else
	fail "$name" 3 "$form" "$found" 'No process has that number now. A container that is started again is a new process with a new number.'
fi

name="$P-old ended with status $STATUS"
form="exit status $STATUS"
code=$(state "$P-old" ExitCode)
ran=$(tiffin ps -a --no-trunc --format '{{.Names}} {{.Command}}' | sed -n "s/^$P-old //p")
case $(state "$P-old" Status) in
running) fail "$name" 4 "$form" 'it still runs' "It takes a signal to end it: a status above 128 is 128 and the signal's number." ;;
'') fail "$name" 4 "$form" 'no such container' 'With the container its exit status is gone: rm removes both. `tiffin lab reset` makes it again.' ;;
*)
	case $code:$ran in
	"$STATUS":*'sleep 100000'*) pass "$name" 4 "exit status $code" ;;
	"$STATUS":*) fail "$name" 4 "$form" "$ran" 'Another command has ended with that status. `tiffin lab reset` starts the one that waits for your signal.' ;;
	143:*) fail "$name" 4 "$form" "exit status $code" 'That was signal 15, TERM: what stop sends, and kill(1) if nothing else is said.' ;;
	137:*) fail "$name" 4 "$form" "exit status $code" 'That was signal 9, KILL: what tiffin kill sends, and rm -f. The task asks for another one.' ;;
	*) fail "$name" 4 "$form" "exit status $code" "Subtract 128 from $STATUS: that is the signal to send. \`tiffin lab reset\` starts it again." ;;
	esac
	;;
esac
