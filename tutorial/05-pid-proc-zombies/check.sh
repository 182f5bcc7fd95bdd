# 1: the process by hand
pid_of() { tiffin inspect --format '{{.State.Pid}}' "$1" 2>/dev/null || true; }
p=$(answer pid)
name="the process in the file pid is process 1 of a PID namespace"
ns= why=
case $p in
'') found="no number" why="Write one line into the file pid: the number of the sleep." ;;
1) found="1" why="1 is the number inside. Your shell sees the process under another one: it is a process outside as well." ;;
*[!0-9]*) found=$p why="That is not a process number." ;;
*)
    ns=$(readlink "/proc/$p/ns/pid" 2>/dev/null) || ns=
    inner=$(sed -n 's/^NSpid:.*[[:space:]]//p' "/proc/$p/status" 2>/dev/null) || inner=
    containers=$(tiffin ps --format '{{.Pid}}' | tr '\n' ' ')
    if [ "${containers#*"$p "}" != "$containers" ]; then
        found="the process 1 of a container" why="That is one which tiffin run made. This one you make by hand, with tiffin unshare."
    elif [ -z "$ns" ]; then
        found="no process $p" why="It has ended, or is not yours. Start it in the background with & and a sleep that is long enough."
    elif [ "$ns" != "$(readlink /proc/self/ns/pid)" ]; then
        found="number $inner in $ns"
        [ "$inner" = 1 ] || why="It is in another PID namespace, but another process was there first. Let unshare start sleep itself, or let the shell exec it."
    elif [ "$(readlink "/proc/$p/ns/pid_for_children" 2>/dev/null)" = "$ns" ]; then
        found="a process in your own PID namespace" why="That is a process of your own namespace, and so are its children. The one you look for is a child of unshare."
    elif [ -z "$(cat "/proc/$p/task/"*/children 2>/dev/null)" ]; then
        found="a process whose children are in a new PID namespace" why="Process $p made the namespace and stays outside of it: no process ever changes its number. The first child, born with --fork (-f), is process 1."
    else
        found="a process with children in a new PID namespace" why="That is the unshare that waits outside for the one inside. Process 1 is its child."
    fi ;;
esac
if [ -z "$why" ]; then pass "$name" 3 "$found"; else fail "$name" 3 "number 1 in a namespace of its own" "$found" "$why"; fi

name="its /proc shows that PID namespace"
if [ -z "$why" ]; then
    shown=$(readlink "/proc/$p/root/proc/1/ns/pid" 2>/dev/null) || shown="another namespace"
    same "$name" 3 "$ns" "$shown" "A new PID namespace does not change a mount. This /proc was mounted outside, so the process sees the processes outside, and its own number there. It has to be mounted again: --mount-proc."
else fail "$name" 3 "a /proc of its own" "unknown" "First there has to be such a process."
fi

# 2, 3: the containers, seen from outside: proc(5), /proc/pid/task/tid/children. A ps in a container
# may say anything.
# tree PID: "STATE PPID" of it and of all below it.
tree() {
    while read -r _key _value _; do
        case $_key in State:) _state=$_value ;; PPid:) echo "$_state $_value" ;; esac
    done 2>/dev/null <"/proc/$1/status" || :
    for _c in $(cat "/proc/$1/task/"*/children 2>/dev/null || :); do tree "$_c"; done
}
count() { printf '%s\n' "$1" | grep -c "$2" || :; }
# settle PID N: waits, a few seconds at most, until no more than N of them are alive. What is about
# to end may still become a zombie.
settle() {
    for _ in $(seq 20); do
        if [ "$(count "$(tree "$1")" '^[^Z]')" -le "$2" ]; then return; fi
        sleep 0.1
    done
}
foreign="The container must be one of tiffin/base: the programs of another image may be anything."

name="$PLAIN has $N zombies that process 1 does not fetch"
p=$(pid_of "$PLAIN")
if [ "${p:-0}" != 0 ]; then
    settle "$p" 1 # process 1
    n=$(count "$(tree "$p")" "^Z $p\$") one=$(cat "/proc/$p/comm" 2>/dev/null) || one=
    if ! of_image "$PLAIN" tiffin/base:latest; then n="$n in another image" w=$foreign
    elif [ "$(tiffin inspect --format '{{.HostConfig.Init}}' "$PLAIN")" = true ]; then w="This container runs with --init, the cure; here we want the illness."
    elif [ "$n" = 0 ] && [ "$one" = sh ]; then w="Process 1 is a shell, and a shell waits for its children, also for those it adopts. exec something that does not."
    elif [ "$n" = 0 ]; then w="There is none. A process becomes a zombie when it ends and nobody waits: let it end, and let process 1 be its parent."
    else w="Each child that ends and is not waited for is one zombie; count those you start."
    fi
    same "$name" 3 "$N" "$n" "$w"
else fail "$name" 3 "$N" "$PLAIN does not run" "Start it with -d and let process 1 stay: when it ends, the whole namespace ends, zombies too."
fi

name="$INIT runs the same command with --init and has none"
p=$(pid_of "$INIT")
if [ "${p:-0}" != 0 ]; then
    settle "$p" 2 # process 1 and the command
    cmd=$(tiffin inspect --format '{{json .Config.Cmd}}' "$INIT")
    ref=$(tiffin inspect --format '{{json .Config.Cmd}}' "$PLAIN" 2>/dev/null) || ref="$PLAIN does not exist"
    if [ "$(tiffin inspect --format '{{.HostConfig.Init}}' "$INIT")" != true ]; then
        fail "$name" 3 "process 1 is an init" "it is the command" "Zombies are not there because nothing was orphaned, or not yet. Start it with --init."
    elif ! of_image "$INIT" tiffin/base:latest; then fail "$name" 3 "a container of tiffin/base" "one of another image" "$foreign"
    elif [ "$cmd" != "$ref" ]; then
        fail "$name" 3 "$ref" "$cmd" "Another command proves nothing: give both containers the same one."
    else
        same "$name" 3 "0" "$(count "$(tree "$p")" '^Z')" "An init reaps what it adopts. These zombies have a parent that lives and never waits, so nobody adopts them: their parent has to end first."
    fi
else fail "$name" 3 "0" "$INIT does not run" "Start it with -d and --init, and the command of $PLAIN."
fi
