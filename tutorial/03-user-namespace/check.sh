pid=$(answer pid)
uid=$(id -u) gid=$(id -g)
case $pid in *[!0-9]*) number=no ;; *) number=$pid ;; esac
command=''
if [ -n "$pid" ] && [ "$number" = "$pid" ] && [ -r "/proc/$pid/cmdline" ]; then
	command=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | sed 's/ $//' || true)
fi

# 1. the process, in another user namespace than this script's.
name="sleep $NAPS runs in a user namespace of its own"
form="a process, other than yours in /proc/PID/ns/user"
alone=no
own=$(readlink /proc/self/ns/user)
# Of a process of somebody else's nothing can be read.
its=$(if [ -n "$command" ]; then readlink "/proc/$pid/ns/user" 2>/dev/null || :; fi)
if [ "${its:-$own}" != "$own" ]; then alone=yes; fi
if [ -z "$pid" ]; then
	fail "$name" 2 "$form" 'no file named pid, or an empty one' 'The file pid is not written yet. The shell has the number of what it started last in the background as $!.'
elif [ -z "$command" ]; then
	fail "$name" 2 "$form" "$pid" 'There is no such process, or it has ended: a user namespace without a file that holds it ends with its last process.'
elif [ "$command" != "sleep $NAPS" ]; then
	case $command in
	*"sleep $NAPS"*) fail "$name" 2 "sleep $NAPS" "$command" 'That process started the sleep and waits for it. Without -f unshare becomes its command, and $! is its number.' ;;
	*) fail "$name" 2 "sleep $NAPS" "$command" 'That is a process with another command.' ;;
	esac
elif [ $alone = no ]; then
	fail "$name" 2 "$form" "$its, your own" 'A process is in the user namespace of its parent unless somebody makes a new one: unshare -U.'
else
	pass "$name" 2 "$its"
fi

map() { tr -s ' \t' '  ' <"/proc/$pid/$1" 2>/dev/null | sed 's/^ //' | tr '\n' ';' | sed 's/;$//' || true; }

# 2., 3. its maps.
judge() { # NAME FILE INSIDE OUTSIDE WORD
	found='' want="$3 $4 1"
	if [ $alone = yes ]; then found=$(map "$2"); fi
	if [ $alone = no ]; then
		fail "$1" 3 "$want" 'no namespace' 'There is no process in a user namespace of its own whose map one could read.'
	elif [ "$found" = "$want" ]; then
		pass "$1" 3 "$found"
	elif [ -n "$found" ] && [ "${found%% *}" = 0 ] && [ "$3" != 0 ]; then
		fail "$1" 3 "$want" "$found" "There you are 0, as unshare -r makes it. Any number can stand for you; a map is written only once, so start anew."
	elif [ "$found" = "$4 $3 1" ] || [ "${found%% *}" = "$4" ]; then
		fail "$1" 3 "$want" "$found" 'That is the wrong way round: first the id inside, then the one outside.'
	elif [ -n "$found" ]; then
		fail "$1" 3 "$want" "$found" 'The three numbers are: the id inside, the id outside, how many. A map is written only once, so start anew.'
	elif [ "$2" = uid_map ]; then
		fail "$1" 3 "$want" 'an empty map' 'No id has a number in there, so the process is nobody. A namespace is new without a map.'
	elif [ "$(cat "/proc/$pid/setgroups")" = allow ]; then
		fail "$1" 3 "$want" 'an empty map, setgroups says allow' 'Users and groups have a map each. That of groups can be written only after `deny` into setgroups.'
	else
		fail "$1" 3 "$want" 'an empty map, setgroups says deny' 'With setgroups denied gid_map can be written now; nobody has done it.'
	fi
}
judge "you are user $INUID in there" uid_map "$INUID" "$uid"
judge "you are group $INGID in there" gid_map "$INGID" "$gid"

# 4. what the map means for files; asked of the kernel.
name='owner is the owner of / from within'
found=$(answer owner) form='the number that stat or ls -n prints in there'
want=''
if [ $alone = yes ] && [ -n "$(map uid_map)" ]; then want=$(tiffin enter -t "$pid" -U stat -c %u /); fi
outside=$(stat -c %u /)
if [ -z "$found" ]; then
	fail "$name" 2 "$form" 'no file named owner, or an empty one' 'Nothing is answered yet: `tiffin enter -t PID -U` shows what a process in there would see.'
elif [ -z "$want" ]; then
	fail "$name" 2 "$form" "$found" 'One cannot look from within before the namespace has its maps.'
elif [ "$found" = "$want" ]; then
	pass "$name" 2 "$found"
elif [ "$found" = "$outside" ]; then
	fail "$name" 2 "$form" "$found" "$outside is the owner's id outside. In there every id is seen through the map, that of files too."
elif [ "$found" = "$INUID" ]; then
	fail "$name" 2 "$form" "$found" "$INUID is you, and / is not yours. Making the namespace did not give you what is in it."
else
	fail "$name" 2 "$form" "$found" 'Ids without a line in the map are all shown as one and the same number.'
fi
