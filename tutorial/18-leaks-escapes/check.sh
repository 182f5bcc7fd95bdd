# Everything is tried beside each other in places of the check's own, with a secret that nobody can
# have known before. Not in /tmp: programs cannot be executed there on some machines.
tmp=$(mktemp -d "$WORK/.check-XXXXXX")
trap 'rm -rf "$tmp"' EXIT
secret=$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')
mkdir "$tmp/outside" "$tmp/outside/srv"

# place NAME RUNNER: a directory with a runner, a box and a secret.
place() {
	mkdir "$tmp/$1"
	cp "$2" "$tmp/$1/runner" 2>/dev/null || : >"$tmp/$1/runner"
	cp -R "$WORK/bin" "$tmp/$1/bin" 2>/dev/null || :
	cp -R "$WORK/box" "$tmp/$1/box" 2>/dev/null || :
	chmod 755 "$tmp/$1/runner"
	echo "$secret-out" >"$tmp/$1/secret"
	cp "$tmp/$1/secret" "$tmp/outside/srv/$B"
	fresh "$1"
}
# fresh NAME: the files of its box are as they were.
fresh() {
	rm -rf "$tmp/$1/box/srv"
	mkdir -p "$tmp/$1/box/srv"
	echo "$A $secret-in" >"$tmp/$1/box/srv/$A"
	echo "$B $secret-in" >"$tmp/$1/box/srv/$B"
}
late= # programs that come before the host's
# runner NAME ARGUMENT…: the runner of a place. What it prints is short, or is cut.
runner() {
	_d=$tmp/$1
	shift
	(cd "$_d" && PATH=$late$PATH timeout -k 1 10 ./runner "$@" 2>&1 3>&-) | head -c 4000 | tr '\000' ' '
}
leaked() { case $1 in *"$secret-out"*) return 0 ;; esac; return 1; }
# leaking NAME: says leak if that gets the secret, by the runner of a place.
leaking() {
	if [ -f leak ] && leaked "$(runner "$1" run box sh -s <leak)"; then echo leak; fi
}
# swapping NAME TIMES: the same of swap, while files are copied so often.
swapping() {
	if ! [ -f swap ]; then return; fi
	(cd "$tmp/$1" && exec timeout -k 1 20 ./runner run box sh -s "$tmp/$1/secret" <"$WORK/swap" >/dev/null 2>&1 3>&-) &
	# The first copy comes when the script has begun, or does not show that it has: a link that is
	# made at once must not come between a look and a use by luck.
	_n=0
	while [ $_n -lt 50 ] && [ -f "$tmp/$1/box/srv/$A" ] && [ -f "$tmp/$1/box/srv/$B" ] && ! [ -L "$tmp/$1/box/srv/$B" ]; do
		_n=$((_n + 1))
		sleep 0.1
	done
	_n=0
	while [ $_n -lt "$2" ]; do
		_n=$((_n + 1))
		sleep 0.2
		rm -rf "$tmp/out"
		mkdir "$tmp/out"
		runner "$1" cp box "$tmp/out" "/srv/$A" "/srv/$B" >/dev/null
		if leaked "$(cat "$tmp/out/$B" 2>/dev/null)"; then
			echo swap
			break
		fi
	done
	kill $! 2>/dev/null || :
	wait $! 2>/dev/null || :
}

# 1, 2: the exploits, by the runner as it was.
place given "$LAB/runner"
name='leak reads the secret through the runner as it was'
given_leak=$(leaking given)
if [ "$given_leak" = leak ]; then
	pass "$name" 2
else
	found=$(if [ -f leak ]; then runner given run box sh -s <leak | head -n 3; else echo 'no file leak'; fi)
	if ! [ -f leak ]; then
		why='Write the script first. It runs in the box: ls -l /proc/self/fd shows what has been left to it.'
	elif grep -q '\.\./' leak && ! grep -q fd leak; then
		why='".." ends at the root of the box, and after pivot_root there is nothing above it. But a descriptor leads to its file from everywhere.'
	else
		why='The script did not print it. The descriptor that was left open is a directory: names below it can be opened, as /proc/self/fd/N/NAME.'
	fi
	fail "$name" 2 'the content of secret' "$found" "$why"
fi

name='swap gets the secret copied by the runner as it was'
given_swap=$(swapping given 20)
if [ "$given_swap" = swap ]; then
	pass "$name" 2
elif ! [ -f swap ]; then
	fail "$name" 2 'the content of the file $1' 'no file swap' 'Write the script first. It runs in the box while somebody copies from it.'
else
	if [ -L "$tmp/given/box/srv/$B" ]; then
		why='There is a link now, but it was there when the runner looked, and so it was refused. Let it look first: where does it wait for the box?'
	else
		why="When it was copied, /srv/$B was no link to the file \$1. The runner looks at both paths and then copies both; it is between the two that a link must come."
	fi
	fail "$name" 2 'the content of the file $1' "$(head -c 100 "$tmp/out/$B" 2>/dev/null || :)" "$why"
fi

# 3: what the runner is for.
place mine runner
name='your runner still runs and copies'
found= why=
if ! [ -s "$tmp/mine/runner" ]; then
	found='no file runner' why='`tiffin lab reset` makes it again; keep a copy of your scripts.'
else
	out=$(printf in | (cd "$tmp/mine" && timeout -k 1 10 ./runner run box -w /srv sh -c 'pwd; cat "$1"; cat; echo; echo /[a-z]*; echo "$2" $$; exit 7' sh "$A" 'a  b' 2>&1 3>&-)) && status=0 || status=$?
	want="/srv
$A $secret-in
in
/bin /proc /srv
a  b 1"
	mkdir "$tmp/copied"
	runner mine cp box "$tmp/copied" "/srv/$A" "srv/$B" >/dev/null
	if [ "$out" != "$want" ]; then
		found=$out why='A command in the box must have its arguments, its input, the directory of -w, number 1, and the box for its root.'
	elif [ $status != 7 ]; then
		found="status $status" why='The status of run is that of the command.'
	elif ! grep -q "cat.*$A" "$tmp/mine/log" 2>/dev/null; then
		found='no line in log' why='Each command is noted in the file log beside the runner: that stays. It can be written before the box is the root.'
	elif ! cmp -s "$tmp/mine/box/srv/$A" "$tmp/copied/$A" || ! cmp -s "$tmp/mine/box/srv/$B" "$tmp/copied/$B"; then
		found=$(ls "$tmp/copied" | tr '\n' ' ') why='cp must copy the files that are named, into the directory OUT, as they are.'
	fi
fi
works=$why
if [ -z "$why" ]; then pass "$name" 2; else fail "$name" 2 'what it did before' "$found" "$why"; fi

# 4: nothing of the host's in the box: descriptors of the command, or its working directory.
name='nothing outside can be reached from a box of your runner'
found= why=
if [ -n "$works" ]; then
	found='a runner that does not work' why='First it has to work: a runner that does nothing is safe, and useless.'
elif leaked "$(runner mine run box sh -c 'for n in 0 1 2 3 4 5 6 7 8 9; do cat "/proc/self/fd/$n/secret"; done' 2>/dev/null)"; then
	found='an open descriptor' why='The command still has the descriptor. exec keeps what is open: it must be closed, or better never be there.'
else
	# A shell opens no other numbers than those that its script names.
	for n in 9 $(grep -o '[3-8][<>]' runner | cut -c 1 | sort -u); do
		if leaked "$(runner mine run box -w /proc/self/fd/$n cat secret)"; then
			found="-w /proc/self/fd/$n" why='The command has no descriptor any more, but its working directory is outside: it was entered while the descriptor was open.'
			break
		fi
		ln -sfn /proc/self/fd/$n "$tmp/mine/box/srv/way"
		if leaked "$(runner mine run box -w /srv/way cat secret)"; then
			found="-w of a link to /proc/self/fd/$n" why='A name is not a place: a link in the box has any name, and leads there as well. Nothing must be open when -w is entered.'
			break
		fi
	done
	if [ -z "$why" ] && [ "$given_leak" = leak ] && [ "$(leaking mine)" = leak ]; then found=leak why='Your own leak still works with it.'; fi
fi
if [ -z "$why" ]; then pass "$name" 2; else fail "$name" 2 'no way out' "$found" "$why"; fi

# 5: between two programs that the runner starts, a path in the box becomes a link: before each
# program, or right after it. In late there are such programs; they count.
name='your runner copies nothing from outside of the box'
mkdir "$tmp/late"
cat >"$tmp/late/each" <<'END'
#!/bin/sh
# Before and after the program: the swap, if it is its turn.
turn() {
	read -r n <"$STATE/n"
	n=$((n + 1))
	echo $n >"$STATE/n"
	if [ $n = "$TURN" ]; then sh "$STATE/swap"; fi
}
PATH=${PATH#*:}
turn
"${0##*/}" "$@" && status=0 || status=$?
turn
exit $status
END
chmod 755 "$tmp/late/each"
for p in realpath readlink stat ls cat cp dd tar head tail basename dirname find file cmp mv install tee; do
	ln -s each "$tmp/late/$p"
done
# copying TURN: one copy, with the swap at its turn; prints what was copied.
copying() {
	rm -rf "$tmp/out"
	mkdir "$tmp/out"
	echo 0 >"$tmp/n"
	late=$tmp/late:
	export STATE="$tmp" TURN="$1"
	runner mine cp box "$tmp/out" "/srv/$B" >/dev/null
	late=
	cat "$tmp/out/$B" 2>/dev/null || :
}
found= why=
if [ -n "$works" ]; then
	found='a runner that does not work' why='First it has to work: a runner that does nothing is safe, and useless.'
else
	ln -sfn "$tmp/mine/secret" "$tmp/mine/box/srv/link"
	runner mine cp box "$tmp/copied" /srv/link >/dev/null
	runner mine cp box "$tmp/copied" ../secret >/dev/null
	if leaked "$(cat "$tmp/copied/link" "$tmp/copied/secret" 2>/dev/null)"; then
		found='a link that was there from the start' why='It follows a link, or "..", out of the box. It did not do that before.'
	fi
	echo : >"$tmp/swap"
	copying 0 >/dev/null
	turns=$(cat "$tmp/n")
	if [ "$turns" -gt 12 ]; then turns=12; fi
	for way in file directory; do
		turn=0
		while [ -z "$why" ] && [ $turn -lt "$turns" ]; do
			turn=$((turn + 1))
			fresh mine
			if [ $way = file ]; then
				echo "ln -sf '$tmp/mine/secret' '$tmp/mine/box/srv/$B'" >"$tmp/swap"
				why='Between the look at a path and the use of it there is always time. However close they are, the path is looked up twice, and can lead to two places.'
			else
				echo "rm -r '$tmp/mine/box/srv'; ln -s '$tmp/outside/srv' '$tmp/mine/box/srv'" >"$tmp/swap"
				why='The last name was looked at, but a directory on the way to it can become a link as well.'
			fi
			if leaked "$(copying $turn)"; then
				found="a $way of the path became a link"
			else
				why=
			fi
		done
	done
	fresh mine
	if [ -z "$why" ] && [ "$given_swap" = swap ] && [ "$(swapping mine 2)" = swap ]; then
		found=swap why='Your own swap still works with it.'
	fi
fi
if [ -z "$why" ]; then pass "$name" 2; else fail "$name" 2 'files of the box' "$found" "$why"; fi
