# It looks with programs of its own, in the namespaces of the two.
t=$(mktemp -d "$WORK/.check-XXXXXX")
trap 'rm -rf "$t"' EXIT
tiffin __userland >"$t/ip"
chmod 755 "$t/ip"
ln -s ip "$t/nc"
own=$(readlink /proc/self/ns/net)
net_of() {
    case $1 in '' | *[!0-9]*) return 0 ;; esac
    readlink "/proc/$1/ns/net" 2>/dev/null || :
}
L=$(answer left) R=$(answer right)
lnet=$(net_of "$L") rnet=$(net_of "$R")
on() { p=$1; shift; tiffin enter -U -n -t "$p" "$@" 2>&1 || :; }

name="left and right are two hosts"
ok= w=
if [ -z "$lnet" ] || [ -z "$rnet" ]; then found="no two processes" w="The files left and right have one line each, the number of a process of yours that still runs."
elif [ "$lnet" = "$own" ] || [ "$rnet" = "$own" ]; then found="one of them in your own network namespace" w="That process has the network of your shell. A new one is made by unshare -n; is the number that of the sleep?"
elif [ "$lnet" = "$rnet" ]; then found="both in $lnet" w="Both have the same network, so they are one host. The second joins the user namespace of the first (enter -U) and makes a network namespace of its own (unshare -n)."
elif [ "$(readlink "/proc/$L/ns/user")" != "$(readlink "/proc/$R/ns/user")" ]; then found="two user namespaces" w="Each has a root of its own, and neither may put an end of a wire into the network of the other. Let the second join the user namespace of the first."
elif [ "$(tr '\0' ' ' <"/proc/$L/cmdline")$(tr '\0' ' ' <"/proc/$R/cmdline")" != "sleep $NAPS sleep $NAPS " ]; then found="other commands" w="Let each be a sleep $NAPS."
else ok=1 found="$lnet, $rnet"
fi
if [ -n "$ok" ]; then pass "$name" 2 "$found"; else fail "$name" 2 "two network namespaces in one user namespace" "$found" "$w"; fi

ladd= radd=
if [ -n "$ok" ]; then ladd=$(on "$L" "$t/ip" addr) radd=$(on "$R" "$t/ip" addr); fi
# has NAME WHERE TEXT ADDRESS/BITS: whether an address is there, and its interface is up.
has() {
    line=$(printf '%s\n' "$3" | sed -n "/^[0-9]/h; / inet ${4%/*}\//{s/ *inet \([^ ]*\) .*/\1/p;g;s/.*<\(.*\)>.*/\1/p;}" | tr '\n' ' ')
    case $line in
    "$4 "*UP*) pass "$1" 2 "$line"; return ;;
    "$4 "*) w="The address is there, but its interface is down: ip link set … up." ;;
    '') w="No interface of $2 has this address. One that is given before the end is moved is lost." ;;
    *) w="The number of bits is another: it says who else is on the wire, and who is not." ;;
    esac
    fail "$1" 2 "$4, up" "${line:-not there}" "$w"
}
if [ -n "$ok" ]; then
    has "left has $LEFT/28" left "$ladd" "$LEFT/28"
    has "right has $RIGHT/28" right "$radd" "$RIGHT/28"
    has "right has $FAR/32" right "$radd" "$FAR/32"
else
    for n in "left has $LEFT/28" "right has $RIGHT/28" "right has $FAR/32"; do fail "$n" 2 "the address, up" "no host" "First there have to be two hosts."; done
fi

# reach ADDRESS: calls it from left; what right has heard, or why not.
reach() {
    secret=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n') said=
    : >"$t/got"
    tiffin enter -U -n -t "$R" timeout 60 "$t/nc" -l -p 4321 </dev/null >"$t/got" 2>/dev/null &
    for _ in $(seq 50); do
        said=$(echo "$secret" | tiffin enter -U -n -t "$L" timeout 3 "$t/nc" -w 1 "$1" 4321 2>&1 3>&-) || :
        case $said in *refused*) sleep 0.1 ;; *) break ;; esac
    done
    for _ in $(seq 20); do if [ -s "$t/got" ]; then break; fi; if [ -n "$said" ]; then break; fi; sleep 0.1; done
    kill $! 2>/dev/null || :
    if [ "$(cat "$t/got")" = "$secret" ]; then echo "heard"; else echo "${said:-nothing heard}" | tail -n 1 | cut -c 1-100; fi
}
for to in "$RIGHT" "$FAR"; do
    name="left reaches $to"
    if [ -z "$ok" ]; then fail "$name" 3 "heard" "no host" "First there have to be two hosts."; continue; fi
    found=$(reach "$to")
    case $to:$found in
    *unreachable*)
        if [ "$to" = "$FAR" ]; then w="left knows no way: the shop is not on the wire, so left needs a route that says who takes the packet on (ip route add … via …)."
        else w="left has no route to right: the address of its end and its bits make one, as soon as it is up."; fi ;;
    *) if [ "$to" = "$FAR" ]; then w="The packet leaves, and nobody answers. The loopback interface of right has to be up, and the route has to lead to the address of right on the wire."
        else w="The packet leaves, and nobody answers. Are both ends up, and one in each namespace?"; fi ;;
    esac
    same "$name" 3 heard "$found" "$w"
done
