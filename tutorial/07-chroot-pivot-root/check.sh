# 1: a fresh jail, and beside it a file that nobody can have known before. Not in
# /tmp: programs cannot be executed there on some machines.
tmp=$(mktemp -d "$WORK/.check-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
cp -R jail "$tmp/jail" 2>/dev/null || true
secret=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
file=$(mktemp "$tmp/outside-XXXXXX")
echo "$secret" >"$file"
# attempt COMMAND…: what a shell prints that runs the escape.
attempt() {
    if [ ! -f escape ]; then echo "no file escape"; return; fi
    timeout 20 tiffin "$@" /bin/sh -s "$file" <escape 2>&1 3>&- | tr '\n' ' ' | cut -c 1-200
}
name="escape leaves a chroot"
found=$(attempt unshare -Ur bin/chroot "$tmp/jail")
case $found in
*"$secret"*) pass "$name" 4 "it printed the secret" ;;
*)
    if [ ! -f escape ]; then w="Write the script first."
    elif [ ! -x jail/bin/sh ]; then w="There is no shell left in jail/bin. tiffin lab reset makes the jail anew; keep a copy of your escape."
    elif ! grep -q chroot escape; then w="'..' stops at the root directory as long as the way up meets it. You have to move the root directory first: somewhere below the working directory."
    elif ! grep -q -e skip-chdir -e '-W' escape; then w="The command chroot moved your working directory along, so you are inside again, only deeper. It must stay where it is: --skip-chdir."
    else w="Now the working directory is outside of the root directory. What is left: climb with enough '..', and make what you find there the root. Programs of the jail are then at a relative path, as bin/chroot."
    fi
    fail "$name" 4 "the content of the file outside" "${found:-nothing}" "$w" ;;
esac

# 2: the process
p=$(answer pivoted)
case $p in *[!0-9]*) p= ;; esac
ns=$(readlink "/proc/${p:-0}/ns/mnt" 2>/dev/null) || ns=
own=$(readlink /proc/self/ns/mnt)
# proc(5), /proc/pid/mountinfo: field 3 is the device, 4 the directory in it, 5 where it is mounted.
table=$(cut -d ' ' -f 3-5 "/proc/${p:-0}/mountinfo" 2>/dev/null) || table=
root=$(printf '%s\n' "$table" | grep ' /$' | tail -n 1 | cut -d ' ' -f 2)
here=$(ls -di jail/. 2>/dev/null | sed 's/^ *//; s/ .*//')
there=$(ls -di "/proc/${p:-0}/root/." 2>/dev/null | sed 's/^ *//; s/ .*//') || there=none

name="jail is the root mount of the process in the file pivoted"
ok= w=
if [ -z "$p" ]; then found="no number" w="The file pivoted must have one line, the number of the process."
elif [ -z "$ns" ]; then found="no process $p" w="It has ended, or is not yours. Let it become a sleep that is long enough, in the background."
elif [ "$ns" = "$own" ]; then found="a process in your own mount namespace" w="pivot_root changes a mount namespace, so it needs a new one: -m. Or is this not the number of the sleep?"
elif [ "$here" != "$there" ]; then found="another root directory" w="Its root directory is not jail."
elif [ -z "$root" ]; then found="a root directory that is no mount" w="Its root directory is jail, but that is the pointer which chroot moves. The mounts of its namespace are as before, and its root mount is the machine's."
else ok=1 found="$root"
fi
if [ -n "$ok" ]; then pass "$name" 3 "$found"; else fail "$name" 3 "a mount of jail on /" "$found" "$w"; fi

name="nothing of the old root is left in its namespace"
if [ -z "$ok" ]; then fail "$name" 3 "only jail" "unknown" "First there has to be such a process."
else
    # Of all mounts there, only jail's may be of the file system that jail is on.
    old=$(printf '%s\n' "$table" | grep -v ' /$' | grep -v -E ' /(proc|dev|sys|tmp|run)(/.*)?$' | head -n 1 || true)
    twice=$(printf '%s\n' "$table" | grep -c ' /$' || true)
    if [ -n "$old" ]; then fail "$name" 3 "only jail" "mounted on ${old##* }" "pivot_root only puts the old root somewhere else. As long as it is mounted there, everything is still in reach: umount -l."
    else same "$name" 3 "1 mount on /" "$twice mount on /" "The old root still lies on top of the new one, or below it: umount -l . takes it away."
    fi
fi

name="the same escape finds nothing there"
if [ -z "$ok" ]; then fail "$name" 2 "nothing" "unknown" "First there has to be such a process."
elif [ ! -f escape ]; then fail "$name" 2 "nothing" "unknown" "First there has to be an escape."
else
    found=$(attempt enter -U -m -t "$p")
    case $found in
    *"$secret"*) fail "$name" 2 "nothing" "the content of the file outside" "It came out, so there is a way: something of the old root is still mounted in this namespace." ;;
    *) pass "$name" 2 "$found" ;;
    esac
fi
