want=$(printf '%016x' $((1 << BIT)))
# 1. The name. It is tried, not looked up: what the command does with this capability alone.
name="missing names the capability"
got=$(answer missing)
case $got in
CAP_*) short=${got#CAP_} ;;
*) short=$got ;;
esac
case $short in
'') why="Nothing is answered yet. What system call does the command make, and what does its manual page say under ERRORS?" ;;
*[!A-Z_]*) why="One name, in capital letters, as capabilities(7) has it." ;;
"$CAP") why= ;;
ALL) why="With all of them it works, but one is enough: which?" ;;
SYS_ADMIN) why="CAP_SYS_ADMIN allows so much that it is suspected of everything. But it is not asked for here: try with it alone." ;;
*)
    if tiffin run --rm --cap-drop ALL --cap-add "$short" tiffin/base true >/dev/null 2>&1; then
        why="With it alone the command fails as before. Try it so: --cap-drop ALL --cap-add $short."
    else why="There is no such capability: capabilities(7) has the names of all."; fi ;;
esac
if [ "$got" = "$CAP" ]; then why="The whole name begins with CAP_."; fi
if [ "$got" = "CAP_$CAP" ]; then pass "$name" 4 "$got"; else fail "$name" 4 "CAP_NAME" "$got" "$why"; fi

# 2. The container, by /proc/PID/status of its process 1.
pid=$(tiffin inspect --type container -f '{{.State.Pid}}' "$TILL" 2>/dev/null) || pid=0
is=$(tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null) || is=
name="$TILL runs sleep $NAPS of $IMAGE"
case ${is% } in
'') w="It does not run. Start it with -d." ;;
*) w="The command is another one." ;;
esac
if [ -n "$is" ] && ! of_image "$TILL" "$IMAGE"; then is="another image" w="It must be made of the same image."; fi
same "$name" 2 "sleep $NAPS" "${is% }" "$w"

# set NAME: one of the sets, 16 digits.
set_of() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$pid/status" 2>/dev/null || :; }
eff=$(set_of CapEff) prm=$(set_of CapPrm) bnd=$(set_of CapBnd)
name="it has this capability"
if [ -n "$eff" ] && [ $((0x${eff#????????} >> BIT & 1)) = 1 ]; then pass "$name" 2 "CapEff $eff"
else
    w="The bit is not set in CapEff: the command would fail as before."
    if [ -n "$bnd" ] && [ $((0x${bnd#????????} >> BIT & 1)) = 1 ]; then w="It is in the bounding set, so it could be had; but the process is no root, and its effective set is empty."; fi
    if [ -z "$eff" ]; then w="First it has to run."; fi
    fail "$name" 2 "the bit set in CapEff" "${eff:-no process}" "$w"
fi
name="and no other"
if [ "$eff $prm $bnd" = "$want $want $want" ]; then pass "$name" 3 "$bnd"
else
    case $bnd in
    '') w="First it has to run." ;;
    000001ffffffffff | 000000ffffffffff | 0000003fffffffff) w="It has all there are. That is --privileged or --cap-add ALL: the answer to \"permission denied\" that never finds out why." ;;
    0000000000000000) w="It has none. Add the one." ;;
    *) if [ $((0x${bnd#????????} & 0xa80425fb)) = $((0xa80425fb)) ]; then w="It has the usual fourteen besides: --cap-add adds to them. Drop ALL first."; else w="One bit in all three sets is enough."; fi ;;
    esac
    fail "$name" 3 "one bit in CapEff, CapPrm and CapBnd" "${bnd:-no process}" "$w"
fi
