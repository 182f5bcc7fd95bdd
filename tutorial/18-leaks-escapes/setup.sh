# The runner, two of its commands as programs, a box (the shell and the commands of the built-in
# image are one program under many names), and a file that no box may read.
rm -rf bin box runner secret
mkdir -p bin box/bin box/proc box/srv
tiffin __userland >box/bin/sh
chmod 755 box/bin/sh
cp box/bin/sh bin/sh
for c in mount pivot_root; do ln -s sh "bin/$c"; done
for c in cat ln ls mkdir mkfifo mount mv pwd readlink rm sleep umount; do ln -s sh "box/bin/$c"; done
echo "$A of today" >"box/srv/$A"
echo "$B of today" >"box/srv/$B"
echo "$WORD" >secret
cp "$LAB/runner" runner
chmod 755 runner
box/bin/ls box >/dev/null 2>&1 ||
	unsupported "programs in $WORK cannot be executed (a file system mounted noexec?): set TIFFIN_LABS to a directory elsewhere"
./runner run box ls / >/dev/null 2>&1 ||
	unsupported "this machine does not let root of a user namespace mount"
rm -f log
