# 1: predicted LETTER WHAT TRUTH
predicted() {
    got=$(sed -n "s/^ *$1  *\([^ ]*\) *$/\1/p" predict 2>/dev/null | head -n 1)
    case $1:$got in
    *: | *:\?) why="Replace the ? by a number. A wrong prediction costs nothing but a try." ;;
    a:143 | b:143 | e:143) why="143 is 128 + TERM, of a process that TERM has ended. Process 1 is not ended by a signal that it has no handler for." ;;
    a:"$N") why="The shell gets to exit $N only when the sleep has ended. Nobody sends it a signal, and the shell has no handler." ;;
    b:"$N") why="The trap is run when the foreground command has ended, and this sleep takes longer than stop waits." ;;
    e:"$N") why="There is a handler for TERM, but the signal that is sent is $SIG." ;;
    e:$((128 + SIGNO))) why="So it would be if $SIG could end it. Process 1 is not ended by a signal that it has no handler for." ;;
    c:*) why="The shell waits with the builtin wait, so the trap is run at once, and says how it ends." ;;
    d:143) why="The init hands on the signal that it gets, and that is $SIG, not TERM." ;;
    d:*) why="Here process 1 is the init, which hands the signal on. The sleep is not process 1, so the signal ends it." ;;
    *) why="What ends it, and is that a status of its own, or a signal's number and 128?" ;;
    esac
    if [ "$got" = "$3" ]; then pass "$2" 1 "$got"; else fail "$2" 1 "what tiffin wait prints" "$got" "$why"; fi
}
predicted a "a: a shell without a trap" 137
predicted b "b: a trap, and a command in the foreground" 137
predicted c "c: a trap, and wait" "$N"
predicted d "d: an init, another signal" $((128 + SIGNO))
predicted e "e: a trap for TERM, another signal" 137

# 2: the script as process 1, with a worker that tells what it gets.
box=$P-check
status=$(number worker 100 120)
worker='for s in HUP INT USR1 USR2; do trap "echo got $s" $s; done
    trap "echo got TERM; sleep 0.2; echo saved; exit $0" TERM
    echo ready
    while :; do sleep 1000 & wait $!; done'
trap 'tiffin rm -f "$box" >/dev/null 2>&1 || :' EXIT
logs() { tiffin logs "$box" 2>/dev/null || :; }
says() { case $(logs) in *"$1"*) return 0 ;; *) return 1 ;; esac }
runs() { [ "$(tiffin inspect --type container -f '{{.State.Running}}' "$box" 2>/dev/null)" = true ]; }
# caught: whether process 1 has a handler. Of SigCgt the last 8 digits are enough, and fit any shell.
caught() {
    c=$(sed -n 's/^SigCgt:[[:space:]]*[0-9a-f]\{8\}//p' "/proc/$pid/status" 2>/dev/null) || c=
    [ $((0x${c:-0} >> (SIGNO - 1) & 1)) = 1 ]
}
# soon COMMAND…: waits until it succeeds, about five seconds at most, as long as the container runs.
soon() {
    for _ in $(seq 50); do
        if "$@"; then return 0; elif ! runs; then break; fi
        sleep 0.1
    done
    "$@"
}
first= handler= found= end= pid=
if [ -f entry ]; then
    tiffin rm -f "$box" >/dev/null 2>&1 || :
    tiffin run -d --name "$box" --network none --stop-signal "$SIG" -v "$PWD/entry:/entry:ro" \
        tiffin/base sh /entry sh -c "$worker" "$status" >/dev/null 2>&1 || :
    if soon says ready; then
        pid=$(tiffin inspect --type container -f '{{.State.Pid}}' "$box")
        first=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || first=
        for _ in 1 2 3 4 5; do if caught; then handler=1; break; fi; sleep 0.1; done
        tiffin kill -s "$SIG" "$box" >/dev/null 2>&1 || :
        # A stop would wait two seconds, too; where nothing can come any more the check does not.
        for _ in $(seq 20); do
            if ! runs || [ -z "$handler" ] || { says "got $SIG" && ! says "got TERM"; }; then break; fi
            sleep 0.1
        done
        if runs; then end=137; else end=$(tiffin wait "$box"); fi
    fi
    found=$(logs | tr '\n' ' ' | cut -c 1-200)
fi

name="entry starts the worker and stays process 1"
case $first in
"sh /entry "*) pass "$name" 2 "${first%%sh -c*}" ;;
*)
    if [ ! -f entry ]; then w="Write the script first."
    elif [ -z "$pid" ]; then w="The worker did not begin. It is what the script's arguments say: \"\$@\"."
    else w="exec makes the worker process 1, and then there is nobody left who could make a TERM of $SIG."
    fi
    fail "$name" 2 "sh /entry WORKER" "${first:-no worker}" "$w" ;;
esac

name="at $SIG the worker gets TERM"
case $found in
*"got $SIG"*) w="The worker got $SIG, which it does not know: send TERM, whatever came." ;;
*) if [ -z "$first" ]; then w="First there has to be a worker."
    elif [ -z "$handler" ]; then w="Process 1 has no handler for $SIG, so the kernel discards it. A shell has one after trap."
    elif [ "$end" = 137 ]; then w="The trap was not run in two seconds. While a shell waits for a command in the foreground it runs none: let the worker run in the background, and wait."
    else w="The script ended, and did not send TERM. The number of what was started last in the background is \$!."
    fi ;;
esac
case $found in *"got TERM"*) pass "$name" 3 "$found" ;; *) fail "$name" 3 "got TERM" "${found:-nothing}" "$w" ;; esac

name="the worker can finish its work"
case $found in
*saved*) pass "$name" 2 "$found" ;;
*"got TERM"*) fail "$name" 2 "saved" "$found" "Process 1 ended before the worker, and then the kernel ends all others in the namespace with KILL. Wait for the worker in the trap, too." ;;
*) fail "$name" 2 "saved" "${found:-nothing}" "First it has to get TERM." ;;
esac

name="the container ends with the worker's status"
case $end in
0) w="That is of the last command of your script. \`wait NUMBER\` has the status of the worker: end with it." ;;
$((128 + SIGNO))) w="That is of a wait that $SIG has interrupted: 128 + $SIGNO. The worker still ran. Wait again." ;;
137) w="KILL has ended it: it did not end by itself." ;;
143) w="143 is 128 + TERM, what a process ends with that TERM has ended. The worker ended with a status of its own: wait for it once more." ;;
*) w="End with the status that wait has for the worker." ;;
esac
same "$name" 2 "$status" "${end:-no container}" "$w"

name="a worker that ends by itself gives its status, too"
if [ -n "$first" ]; then
    tiffin rm -f "$box" >/dev/null 2>&1 || :
    other=$((status - 50)) is=0
    timeout 20 tiffin run --rm --name "$box" --network none -v "$PWD/entry:/entry:ro" tiffin/base \
        sh /entry sh -c 'exit $0' "$other" >/dev/null 2>&1 || is=$?
    same "$name" 1 "$other" "$is" "The last command of the script decides: that should be the wait, or an exit with its status."
else fail "$name" 1 "its status" "no worker" "First there has to be a worker."
fi
