pid=$(tiffin inspect --format '{{.State.Pid}}' "$ROOM" 2>/dev/null) || pid=0
table=$(cat "/proc/$pid/mountinfo" 2>/dev/null) || table=

# at PATH: the lines of the mounts on PATH; proc(5), /proc/pid/mountinfo: field 5.
at() { printf '%s\n' "$table" | grep -E "^([^ ]+ ){4}$1 " || true; }
# tags PATH: the optional fields of the topmost mount there, or "not mounted".
tags() {
    _line=$(at "$1" | tail -n 1)
    if [ -z "$_line" ]; then echo "not mounted"; return; fi
    _line=$(printf '%s\n' "$_line" | sed -E 's/^([^ ]+ ){6}//; s/(^| )- .*//')
    echo "${_line:-private}"
}
is() { if [ -n "$(at "$1")" ]; then echo mounted; else echo "not mounted"; fi; }
# group KIND TAGS: the N of KIND:N.
group() { printf '%s\n' "$2" | sed -nE "s/.*$1:([0-9]+).*/\1/p"; }
device() { at "$1" | tail -n 1 | cut -d ' ' -f 3; }

if [ -z "$table" ]; then why="The container $ROOM does not run: tiffin lab reset starts it again."; else why=; fi
a=$(tags "/srv/$A") b=$(tags "/srv/$B") c=$(tags "/srv/$C")
peers=$(group shared "$a") master=$(group master "$b")

name="/srv/$A is a shared mount"
if [ -n "$peers" ]; then pass "$name" 2 "$a"
else fail "$name" 2 "shared:N" "$a" "${why:-A new mount below a private one is private, and a private mount has no peers: nobody can be told, and nobody can be its slave. Say --make-shared before you copy it.}"
fi

name="/srv/$B is a slave of /srv/$A"
if [ -n "$peers" ] && [ "$master" = "$peers" ] && [ -z "$(group shared "$b")" ]; then pass "$name" 2 "$b"
else
    case $b in
    "not mounted") w="There is no mount on it: a directory of the same name is not a view." ;;
    *shared*) w="A bind mount of a shared mount is its peer: it tells what is mounted below it, too. Only --make-slave makes it one that listens." ;;
    private) w="It has no master. --make-slave turns a peer into a slave; a mount that never was a peer just stays private." ;;
    *) w="Its master is another peer group than that of /srv/$A." ;;
    esac
    fail "$name" 2 "master:${peers:-N}" "$b" "${why:-$w}"
fi

name="/srv/$C is a private view of the same tmpfs"
if [ "$c" != private ]; then
    case $c in
    *master*) w="A slave still listens; a private mount neither hears nor tells." ;;
    *shared*) w="Copies inherit the type: a bind mount of a shared mount is shared until you say --make-private." ;;
    *) w="There is no mount on it." ;;
    esac
    fail "$name" 2 "private" "$c" "${why:-$w}"
else same "$name" 2 "$(device "/srv/$A")" "$(device "/srv/$C")" "It is private, but another file system: a second tmpfs is not a view of the first. Use mount --bind."
fi

name="the mount on $A/$NEW was repeated in $B and not in $C"
want="$A/$NEW mounted, $B/$NEW mounted, $C/$NEW not mounted"
found="$A/$NEW $(is "/srv/$A/$NEW"), $B/$NEW $(is "/srv/$B/$NEW"), $C/$NEW $(is "/srv/$C/$NEW")"
if [ -n "$(at "/srv/$C/$NEW")" ]; then w="$C heard of it: when you mounted on $A/$NEW, $C was not private yet."
elif [ -n "$(at "/srv/$A/$NEW")" ] && [ -n "$master" ]; then w="Only events travel. The mount on $A/$NEW was there before $B was a peer, and a plain --bind copies one mount, not those below it."
else w="Mount it on $A/$NEW, after the types are set; $B must hear of it then."
fi
same "$name" 2 "$want" "$found" "${why:-$w}"

name="the mount on $B/$OWN is nowhere else"
want="$A/$OWN not mounted, $B/$OWN mounted, $C/$OWN not mounted"
found="$A/$OWN $(is "/srv/$A/$OWN"), $B/$OWN $(is "/srv/$B/$OWN"), $C/$OWN $(is "/srv/$C/$OWN")"
same "$name" 2 "$want" "$found" "${why:-A slave tells nobody. If it is repeated in $A, $B was still a peer when you mounted; if it is not in $B, mount it on $B/$OWN.}"
