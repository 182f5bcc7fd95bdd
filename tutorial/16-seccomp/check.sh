# What each program says, in a container with the profile and in one without. Each makes another
# call. No program of the student's runs here, only the kernel's filter differs.
probes='t() { n=$1; shift; if m=$("$@" 2>&1); then echo "$n: ok"; else echo "$n: $? ${m##*: }"; fi; }
mkdir /t; cd /t; echo text >f
t link-hard ln f hard
t link-symbolic ln -s f soft
t xattr setfattr -n user.a -v 1 f
t xattr-nofollow setfattr -h -n user.b -v 1 f
t sync-file sync f
t sync-all-of-it sync -f f
t make mkdir d
t move mv f d/g
t copy cp d/g f
t mode chmod 640 f
t owner chown 0 f
t size truncate -s 2 f
t time touch -d 2020-01-01 f
t attributes getfattr -d f
t list ls -l / 
t pipe sh -c "cat f | wc -c"
t remove rm -r d
t signal sh -c "sleep 9 & kill \$!; wait"
t thread sort f
t end true'
said() { tiffin run --rm --network none "$@" tiffin/base sh -c "$probes" 2>&1 || :; }
usual=$(said)
if [ -f profile.json ]; then ours=$(said --security-opt seccomp=profile.json | cut -c 1-300); else ours=; fi
case $ERRNO in EIO) text="input/output error" ;; ENOSPC) text="no space left on device" ;; EROFS) text="read-only file system" ;; *) text="disk quota exceeded" ;; esac

name="a container starts with profile.json"
case $ours in
*"end: "*) started=1 ;;
*) started=
    case $ours in
    '') w="Write the profile first; demo.json is one to begin with." ;;
    *"init was killed"*) w="The filter forbids what every program needs to start at all. SCMP_ACT_ALLOW as the default, and only what shall be forbidden in the list." ;;
    *"no system call"*) w="A misspelt name would be a call that nobody makes. The names are those of the manual pages in section 2." ;;
    *) w="It is no profile that tiffin understands: compare with demo.json." ;;
    esac ;;
esac
if [ -n "$started" ]; then pass "$name" 1 "it starts"; else fail "$name" 1 "it starts" "${ours:-no file}" "$w"; fi

# line NAME OUTPUT: what is said there.
line() { printf '%s\n' "$2" | sed -n "s/^$1: //p"; }
# forbidden NAME TRY: whether both ways of the task fail as they should.
forbidden() {
    is=$(line "$2" "$ours")
    case $is in
    "1 $text") pass "$1" 3 "$is"; return ;;
    ok) w="This program was not refused: it makes another call for the same thing. The manual page names the relatives." ;;
    159*) w="The program was ended by SIGSYS. It shall live on, and be told $ERRNO: SCMP_ACT_ERRNO." ;;
    *"not permitted"*) w="That is EPERM, what is answered if nothing else is said: errnoRet is missing." ;;
    '') w="First a container has to start with the profile." ;;
    *) w="It is refused, but with another error than $ERRNO: errnoRet has its number." ;;
    esac
    fail "$1" 3 "1 $text" "${is:-no container}" "$w"
}
case $KIND in
link) one=link-hard two=link-symbolic ;;
xattr) one=xattr two=xattr-nofollow ;;
sync) one=sync-file two=sync-all-of-it ;;
esac
forbidden "one way to do it is answered $ERRNO" "$one"
forbidden "another way to do it is answered $ERRNO" "$two"

name="everything else works as before"
rest() { printf '%s\n' "$1" | grep -v -e "^$one: " -e "^$two: " || :; }
broken=
if [ -n "$started" ]; then
    for n in $(rest "$usual" | sed -n 's/^\([a-z-]*\): .*/\1/p'); do
        if [ "$(line "$n" "$ours")" != "$(line "$n" "$usual")" ]; then broken="$broken $n: $(line "$n" "$ours"),"; fi
    done
    same "$name" 3 "as before" "${broken:-as before}" "The filter refuses calls that have nothing to do with the task. With SCMP_ACT_ALLOW as the default action, only what you list is refused."
else fail "$name" 3 "as before" "no container" "First a container has to start with the profile."
fi
