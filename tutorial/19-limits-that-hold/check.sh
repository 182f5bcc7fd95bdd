# The files of the group in which the container's first process is, as the kernel says.
pid=$(tiffin inspect --type container -f '{{.State.Pid}}' "$OVEN" 2>/dev/null) || pid=0
group=
if [ "${pid:-0}" != 0 ]; then
	group=/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$pid/cgroup" 2>/dev/null)
fi
gone="There is no running container $OVEN. A limit holds for a group that is there."
if [ -n "$group" ] && ! of_image "$OVEN" tiffin/base:latest; then
	group= gone="$OVEN must be a container of tiffin/base."
fi
case ${group##*/} in
'' | tiffin-*) ;;
*) group= gone="$OVEN has no group of its own: without limits none is made for it, unless you say --limits cgroup." ;;
esac
# of FILE [KEY]: what the group has there; nothing if it has no such file.
of() {
	if [ -z "$group" ] || ! [ -r "$group/$1" ]; then return; fi
	if [ $# = 1 ]; then cat "$group/$1"; else sed -n "s/^$2 //p" "$group/$1"; fi
}
# limit NAME FILE WANT GOT WHY
limit() {
	if [ -z "$group" ]; then
		fail "$1" 1 "$3" 'no container' "$gone"
	elif [ -z "$4" ]; then
		fail "$1" 1 "$3" "no file $2" 'The controller is not handed down: its name must be in cgroup.subtree_control of the group above.'
	elif [ "$4" = "$3" ]; then
		pass "$1" 1 "$4"
	elif [ "${4%% *}" = max ]; then
		fail "$1" 1 "$3" "$4" "max is no limit. A number is written into $2 of the container's group."
	else
		fail "$1" 1 "$3" "$4" "$5"
	fi
}
got=$(of memory.max)
case $got in
$((MIB * 1000000 / 4096 * 4096))) why="MiB are 1024 times 1024 bytes: ${MIB}M, not ${MIB}000000." ;;
"$MIB" | 0) why="Without a unit these are bytes, rounded down to pages. ${MIB}M are MiB." ;;
*) why='That is another number of bytes.' ;;
esac
limit "$OVEN may have $MIB MiB of memory" memory.max $((MIB * 1048576)) "$got" "$why"
limit "$OVEN may have $PROCS processes and threads" pids.max "$PROCS" "$(of pids.max)" 'That is another number.'
got=$(of cpu.max)
case $got in
"100000 ${PERCENT}000") why='It is the other way round: first the time that it may run, then the period.' ;;
"$PERCENT "* | "$PERCENT"00" "*) why='Both numbers are microseconds: a period of 100000, and the part of it that may be used.' ;;
*) why="Of a period of 100000 microseconds, $PERCENT percent are ${PERCENT}000." ;;
esac
limit "$OVEN may have $PERCENT percent of a processor" cpu.max "${PERCENT}000 100000" "$got" "$why"

# held NAME FILE KEY WHY: the limit was met.
held() {
	got=$(of "$2" "$3")
	if [ -z "$group" ]; then
		fail "$1" 1 "$3 of $2 above 0" 'no container' "$gone"
	elif [ "${got:-0}" -gt 0 ]; then
		pass "$1" 1 "$3 $got"
	else
		fail "$1" 1 "$3 of $2 above 0" "$3 ${got:-unknown}" "$4"
	fi
}
held "the kernel has killed in $OVEN for want of memory" memory.events oom_kill \
	'Nothing was killed. Was more memory used than the limit, after it was set, and in this container? Where there is swap, memory.swap.max must be bounded as well.'
held "the kernel has refused a process in $OVEN" pids.events max \
	'No fork or clone was refused yet: start more than the limit at once. What was there before the limit stays, and counts.'
held "the kernel has made $OVEN wait" cpu.stat nr_throttled \
	'It never used up its part of a period: sleeping costs no processor time. Let a loop run.'

# The plan.
said() { if [ -f effective ]; then sed -n "s/^ *$1  *\([^ ]*\) *$/\1/p" effective | head -n 1; fi; }
# foretold NAME WANT GOT OWN WHY
foretold() {
	case $3 in
	"$2") pass "$1" 2 "$3" ;;
	'' | '?') fail "$1" 2 'a number' "$3" 'The file effective has two lines, a key and a number each.' ;;
	"$4") fail "$1" 2 'a number' "$3" 'That is what the group itself has. A process is in all groups above as well, and each of them counts it.' ;;
	*) fail "$1" 2 'a number' "$3" "$5" ;;
	esac
}
got=$(said memory)
case $got in
"$M1") why='That is the group at the top. One between has less.' ;;
$((M1 + M2 + M3))) why='Limits are not added: what is used in pot is used in stove and in kitchen, too.' ;;
*M) why='In MiB, without a unit.' ;;
*) why='The smallest limit on the way from pot to the top is the one that is met first.' ;;
esac
foretold 'memory: what a process in pot can have' "$M2" "$got" "$M3" "$why"
got=$(said pids)
case $got in
max) why='max in one group means that this group sets no limit. Others may.' ;;
*) why='Of the numbers on the way to the top the smallest one counts.' ;;
esac
foretold 'pids: how many there can be in pot' "$N1" "$got" "$N3" "$why"
