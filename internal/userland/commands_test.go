package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Scripts that must give the same output and exit status with our commands and
// with those of the machine (coreutils, procps, GNU tar, …).
var sameAsSystem = []struct{ needs, script string }{
	{"ls", `mkdir d; echo hi > d/f; ln -s f d/l; touch -d '2020-01-02 03:04:05' d/f; mkfifo d/p; chmod 4751 d/f; ls -1 d; ls -a d; ls -A d; ls -ld d/f; ls -ln d/f; ls -F d; ls -p d; ls -d d d/*; ls -i d | wc -l`},
	{"ls", `mkdir -p a/b/c; touch a/x a/b/y; ls -R a; ls -R a/b a/x; touch -d @100 o; touch -d @200 n; ls -t o n; ls -tr o n; printf 12345 > big; ls -S o big; ls -sh o; ls -lh big | cut -c1-10; ls nope; echo $?`},
	{"cp", `mkdir a; echo x > a/f; ln -s f a/l; ln a/f a/h; chmod 600 a/f; touch -d @1000 a/f; cp -a a b; stat -c '%n %a %F %h' b/*; stat -c %Y b/f; cp a/f g; stat -c '%a %s' g; cp a d; echo $?; cp -r a/. e; ls e; cp a/f a/h nodir; echo $?; cp -p a/f q; stat -c %Y q; cp a/f a/f; echo $?`},
	{"mv", `echo 1 > a; mv a b; cat b; mkdir d; mv b d; cat d/b; mv nope x; echo $?; echo 2 > c; mv -n c d/b; cat d/b; mv d e; ls e`},
	{"rm", `mkdir -p d/e; touch f d/g; rm f; rm d; echo $?; rm -r d; rm nope; echo $?; rm -f nope; echo $?; ls`},
	{"mkdir", `mkdir a; mkdir a; echo $?; mkdir -p a/b/c; mkdir -m 1700 m; stat -c %a m a/b; mkdir x/y; echo $?; rmdir a; echo $?; rmdir -p a/b/c; ls`},
	{"ln", `echo 1 > f; ln f g; stat -c %h g; ln -s f s; readlink s; ln -s f s; echo $?; ln -sf g s; readlink s; mkdir d; ln -s ../f d; readlink d/f; ln nope x; echo $?; ln -s d dl; ln -sfn f dl; readlink dl`},
	{"chmod", `touch f; for m in 644 u+x go-r a=rw u=rwx,g=rx,o= +x -w g+s u+s o=u 4755 1777 ug=rw,o+t a-s; do chmod $m f; stat -c "$m %a %A" f; done; mkdir d; touch d/g; chmod -R u=rwX,go= d; stat -c %a d d/g; chmod z f; echo $?; chmod 777 nope; echo $?`},
	{"touch", `touch -d @86400 f; stat -c %Y f; touch -d '2024-02-29 12:30:45' f; stat -c %Y f; touch -t 202001020304.05 f; stat -c %y f; touch -r f g; stat -c %Y g; touch -c nope; ls; touch -m -d @5 f; stat -c %Y f; touch -a -d @7 f; stat -c '%X %Y' f; touch x/y; echo $?`},
	{"stat", `printf abc > f; touch -d @1 f; chmod 640 f; stat -c '%n %s %h %a %A %f %F %u %g %t %T %Y %y %%' f; ln -s f l; stat -c '%N' f; stat -c %F l . ; stat -L -c %s l; stat -c %t:%T /dev/null; stat nope; echo $?; : > e; stat -c %F e`},
	{"readlink", `mkdir -p a/b; ln -s a/b l; ln -s nowhere d; readlink l; readlink a; echo $?; readlink -f l | sed 's/.*\///'; readlink -f d | sed 's/.*\///'; readlink -e d; echo $?; readlink -m x/y/../z | sed 's/.*\///'; realpath l | sed 's/.*\///'; realpath nope/x; echo $?`},
	{"basename", `basename /a/b.c; basename /a/b.c .c; basename -s .c -a x.c y.c; basename /; basename a/; dirname /a/b; dirname a; dirname /; dirname a/b/; dirname /a`},
	{"head", `seq 20 > f; head f; head -n 3 f; head -3 f; head -c 5 f; head -n -15 f; tail f; tail -n 3 f; tail -n +18 f; tail -c 4 f; head -n1 f f; tail -n 1 f f; head nope; echo $?; printf 'no newline' | tail -n 1; printf '' | tail`},
	{"wc", `seq 20 > f; printf 'a b\nc' > g; wc f; wc -l f; wc f g; wc -w < g; wc -c f g; printf 'ä\n' | wc -m -c > /dev/null; wc nope; echo $?; echo a b c | wc`},
	{"grep", `printf 'one\ntwo\nThree\nfour+\n' > f; grep o f; grep -n o f; grep -i t f; grep -v o f; grep -c o f; grep -l o f; grep -q zzz f; echo $?; grep -E 'o(n|u)' f; grep -F 'r+' f; grep 'r+' f; grep 't\|o' f; grep -x one f; grep -w two f; grep -o 'o.' f; grep o f f; grep -h o f f; grep -A1 one f; grep -B1 four f; grep -C1 two f; grep -m1 o f; grep o nope; echo $?; grep -e one -e two f; grep '[[:upper:]]' f; grep '^t' f; grep 'e$' f; mkdir d; cp f d; grep -r one d; grep 'o\{1\}' f; grep -L zzz f`},
	{"sort", `printf 'b 2\na 10\nb 1\nC 3\na 10\n' > f; sort f; sort -r f; sort -u f; sort -k2 f; sort -k2n f; sort -k1,1 -k2nr f; sort -f f; printf '10\n9\n-1\n1.5\n' | sort -n; printf 'a:2\nb:1\n' | sort -t: -k2; printf '1K\n2M\n500\n' | sort -h; sort -c f; echo $?; printf 'v1.10\nv1.9\n' | sort -V; sort -o f f; cat f`},
	{"uniq", `printf 'a\na\nb\na\n' > f; uniq f; uniq -c f; uniq -d f; uniq -u f; printf 'A\na\n' | uniq -i`},
	{"cut", `printf 'a:b:c\nnone\n' > f; cut -d: -f1 f; cut -d: -f2- f; cut -d: -f1,3 f; cut -s -d: -f2 f; cut -c1-2 f; cut -b2 f; printf 'a\tb\n' | cut -f2`},
	{"tr", `echo hello | tr a-y b-z; echo hello | tr -d l; echo aabbcc | tr -s ab; echo 'a b' | tr ' ' '\n'; echo abc | tr '[:lower:]' '[:upper:]'; echo a1b2 | tr -cd 0-9; echo; echo aXb | tr -c 'a-z\n' _; printf 'a\0b' | tr '\0' '\n'; echo xyz | tr xyz ab`},
	{"seq", `seq 3; seq 2 4; seq 1 2 6; seq 5 -2 1; seq -s, 3; seq -w 8 10; seq 0.5 0.5 1.5; seq 3 1`},
	{"sed", `seq 5 > f; sed 's/3/x/' f; sed -n '2,3p' f; sed '2d;$d' f; sed '/3/,/4/d' f; sed -n '$=' f; sed '2i\' -e 'ins' f; sed '2a after' f; sed '2c changed' f; echo aaa | sed 's/a/b/2'; echo aaa | sed 's/a/b/g'; echo 'a/b' | sed 's|/|-|'; echo abc | sed 's/\(b\)/[\1&]/'; echo abc | sed -E 's/(b|c)+/X/'; sed -i 's/1/one/' f; head -1 f; sed 2q f; echo abc | sed y/abc/xyz/; sed '2!d' f; sed -n '2{p;p}' f; sed '1~0d' f > /dev/null 2>&1; printf 'a\nb\n' | sed 'N;s/\n/-/'; printf '1\n2\n3\n' | sed -n '1!G;h;$p'; printf 'x\n' | sed ':a;s/^x\{0,3\}$/&x/;ta'; seq 3 | sed '2,+1d'; echo ABC | sed 's/b/x/I'`},
	{"find", `mkdir -p d/e; touch d/a.c d/e/b.c d/z; ln -s a.c d/l; find d | sort; find d -name '*.c' | sort; find d -type d | sort; find d -type l; find d -maxdepth 1 -type f | sort; find d -name e -prune -o -type f -print | sort; find d -name '*.c' -exec basename {} \; | sort; find d -name '*.c' -exec echo {} + | wc -l; find d ! -type d | sort; find d \( -name z -o -name l \) | sort; find d -empty | sort; find d -name z -delete; ls d; find nope; echo $?; find d -mindepth 2; find d -type f -printf '%f %m %s\n' | sort; find d -perm -u+r -type f | sort; find d -newer d/l -name q; find d -path '*e/b*'; find d -size 0 | sort; find d -print0 | tr '\0' '\n' | wc -l`},
	{"tar", `mkdir -p s/d; echo hi > s/f; ln s/f s/h; ln -s f s/l; chmod 750 s/d; touch -d @1000000 s/f s/d s; tar cf a.tar --sort=name s 2> /dev/null; tar tf a.tar; tar -tvf a.tar | sed 's/ [0-9-]* [0-9:]* s\/l/ s\/l/'; mkdir o; tar xf a.tar -C o; cat o/s/h; stat -c '%n %a %Y %h' o/s/f o/s/d; readlink o/s/l; tar czf a.tgz s; tar xzf a.tgz -O | head -n 1; tar tzf a.tgz s/d; tar xf nope.tar; echo $?; tar xf a.tar nofile; echo $?; tar cf - s | tar tf - | wc -l; tar xf a.tar --strip-components=1; cat f`},
	{"gzip", `echo hello > f; gzip f; ls; gzip -dc f.gz; gunzip f.gz; cat f; gzip -k f; ls; zcat f.gz; gzip -t f.gz; echo $?; printf junk > j.gz; gzip -t j.gz; echo $?; gzip < f | gzip -d; gzip nope; echo $?`},
	{"sha256sum", `echo hi > f; sha256sum f; md5sum f; sha1sum f; sha512sum f; sha256sum f > s; sha256sum -c s; echo x > f; sha256sum -c s; echo $?; echo hi | sha256sum; sha256sum nope; echo $?`},
	{"od", `printf 'abc\n\000\377xyz0123456789' > f; od f; od -c f; od -An -tx1 f; od -A x -t x1 f; od -t u1 -N 3 f; od -An -c -j 2 f; head -c 64 /dev/zero | od -A d -t x1; od -An -t o1 f`},
	{"base64", `printf 'hello world, this is a long line that has to be wrapped at seventy-six columns' > f; base64 f; base64 f | base64 -d; base64 -w 0 f; echo '!!!' | base64 -d; echo $?`},
	{"cmp", `printf abc > a; printf abd > b; cmp a a; echo $?; cmp a b; echo $?; cmp -s a b; echo $?; cmp a nope; echo $?; cmp -l a b`},
	{"dd", `seq 100 > f; dd if=f bs=10 count=2 status=none; dd if=f of=g bs=1k status=none; cmp f g; printf XX | dd of=g bs=1 seek=3 conv=notrunc status=none; head -c 8 g; dd if=f bs=3 skip=2 count=1 status=none; dd if=nope status=none; echo $?; dd if=f of=h bs=5 count=1 seek=1 status=none; od -c h`},
	{"env", `env -i A=1 env; env -u HOME sh -c 'echo $HOME'; env A=2 printenv A; env nosuch; echo $?; env false; echo $?; printenv NOPE; echo $?; env -C / pwd`},
	{"xargs", `printf 'a b\nc\n' | xargs; printf 'a b\nc\n' | xargs -n 1 echo x; printf 'a b\nc\n' | xargs -I{} echo '<{}>'; printf 'a\0b c\0' | xargs -0 -n1 echo; printf '' | xargs echo none; printf '' | xargs -r echo none; echo "'a b' c" | xargs -n1; echo x | xargs false; echo $?; echo x | xargs nosuch; echo $?; echo 1 | xargs sh -c 'exit 255'; echo $?`},
	{"test", `touch f; mkdir d; ln -s nope l; for e in '-e f' '-f f' '-d d' '-d f' '-L l' '-e l' '-s f' '-r f' '-z a' '-n a' 'a = a' 'a != a' '1 -lt 2' '2 -le 1' '! a' '-f f -a -d d' '-f x -o -d d' '( a )' 'a' '-n' '! -e x' '1 -eq 1 -a 2 -gt 3'; do env test $e; echo "$e $?"; done; env [ a = a ]; echo $?; env [ a; echo $?; env test 1 -lt x; echo $?`},
	{"date", `date -u -d @0; date -u -d @86399 '+%Y-%m-%d %H:%M:%S %j %a %A %b %e %s %y %p %I %u %w %n%%'; date -u -d '2024-02-29 10:00' +%F; date -u -d '2024-03-01 1 day ago' +%F;  date -u -R -d @0; date -u -Iseconds -d @0; date -u -d @5 +%T.%N; date -d nonsense; echo $?; touch -d @99 f; date -u -r f +%s`},
	{"timeout", `timeout 1000 true; echo $?; timeout 0.2 sleep 1000; echo $?; timeout 1000 sh -c 'exit 3'; echo $?; timeout -s KILL 0.2 sleep 1000; echo $?; timeout 1000 nosuch; echo $?`},
	{"tee", `echo a | tee f; echo b | tee -a f g; cat f g; echo x | tee nodir/f; echo $?`},
	{"id", `id; id -u; id -g; id -un; id -G; whoami; id nosuch; echo $?; id -gn; id root`},
	{"truncate", `truncate -s 1k f; stat -c %s f; truncate -s +24 f; stat -c %s f; truncate -s -1000 f; stat -c %s f; truncate -s 0 f; stat -c %s f; truncate -c -s 5 nope; ls`},
	{"du", `mkdir -p d/e; head -c 10000 /dev/zero > d/f; head -c 5000 /dev/zero > d/e/g; du -s d; du d; du -a d | sort -k2; du -sh d; du -sb d/f; du -c -s d; du nope; echo $?`},
	{"mktemp", `mktemp -d ./x.XXXXXX | wc -c; f=$(mktemp -p .); stat -c %a $f; mktemp x.X; echo $?; mktemp -u q.XXXX | wc -c; ls -d q.* 2>/dev/null`},
	{"printf", `env printf '%s-%d\n' a 1 b 2; env printf '%5s|%-5s|%03d\n' a b 7; env echo -n a; env echo b; env printf 'a\tb\n'; env printf '%x %o\n' 255 8`},
	{"printf", `printf '%.2f|%X|%e|%g|%G\n' 3.14159 255 1.5 1e-7 100000; printf '%*d|%-*d|%.*f\n' 5 3 4 2 1 2.25; printf '%-10.3s|%+d|% d|%#x|%#o\n' abcdef 5 5 255 8; printf '%d %d %d %d\n' 0x10 010 -7 "'A"; printf '%x %u\n' -1 -1; printf '%c%c%c|\n' xyz '' a; printf '%b|%b\n' 'a\tb\0101' 'x\cy' no; echo; printf '\101\\ %%\n'; printf 'none\n' 1 2; printf '%#x %#X|%x|%#08x|%.*d|%5.3d|%-05d|%05.1f\n' 0 0 255 10 -5 3 7 7 2.25; printf '%f %f %F %+e\n' inf nan -inf 1; printf '%f %.1f\n' 0x10 0x1.8; printf '%5s|%.0d|%#o\n' é 0 0; for f in d u x f; do for v in 9223372036854775807 9223372036854775808 18446744073709551616 0b1 1_0 -5; do printf "%$f\n" $v 2>/dev/null; echo $?; done; done; printf '%d\n' -9223372036854775809 2>/dev/null; echo $?; printf '\033[0m%b' '\0101' | od -c; printf '%s,'; printf '%s-%s;' 1 2 3; printf '%d\n'; printf '%d\n' ''; printf '%s\n' '%d \n'; printf '%05d|%-5d|%5s\n' -42 7 e; for a in abc 12abc; do printf '%d\n' $a 2>/dev/null; echo $?; done; printf '%y\n' 1 2>/dev/null || echo bad; printf %i 9 | cat; printf -- '%s\n' x; env printf -- '%.1f %5.1f|\n' 2.25 3`},
	{"tac", `seq 3 | tac; echo abc | rev; printf 'a\n\nb\n' | nl`},
	{"sleep", `sleep 0; echo $?; sleep x; echo $?; nproc | wc -l; uname -s; true; false; echo $?; yes | head -n 2; which ls | wc -l; which nosuch; echo $?`},
	{"flock", `flock f echo in; flock -n f sh -c 'flock -n f echo no; echo $?'; flock f false; echo $?; flock -s f flock -s -n f echo both`},
	{"hexdump", `printf 'abc\n0123456789abcdefXYZ' | hexdump -C; printf 'abcd' | hexdump; head -c 64 /dev/zero | hexdump -C`},
	{"getfattr", `touch f; setfattr -n user.a -v 1 f; setfattr -n user.b -v 0x4142 f; getfattr -d f; getfattr -n user.a f; getfattr f; setfattr -x user.a f; getfattr -n user.a f; echo $?; getfattr --only-values -n user.b f`},
}

func TestCommandsDoAsTheSystems(t *testing.T) {
	bin := binDir(t)
	for _, s := range sameAsSystem {
		t.Run(s.needs, func(t *testing.T) {
			t.Parallel()
			tool(t, s.needs)
			ours := shell(t, bin, t.TempDir(), s.script)
			theirs := command(t, "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", t.TempDir(), "", "/bin/sh", "-c", s.script)
			a, b := strings.Split(ours.out, "\n"), strings.Split(theirs.out, "\n")
			for i := range max(len(a), len(b)) {
				x, y := at(a, i), at(b, i)
				if x != y {
					t.Errorf("line %d:\nours   %q\ntheirs %q\nafter  %q\nerrors %s", i+1, x, y, a[max(0, i-2):min(len(a), i)], ours.err)
					break
				}
			}
			if strings.Contains(ours.err, "goroutine ") {
				t.Errorf("a Go trace: %s", ours.err)
			}
		})
	}
}

func at(list []string, i int) string {
	if i < len(list) {
		return list[i]
	}
	return "(nothing)"
}

func TestEveryCommandHasHelpAndRefusesUnknownOptions(t *testing.T) {
	bin, dir := binDir(t), t.TempDir()
	for _, name := range Names() {
		if strings.Contains(" echo printf test [ true false ", " "+name+" ") {
			continue
		}
		r := command(t, bin, dir, "", filepath.Join(bin, name), "--help")
		if r.exit != 0 || !strings.HasPrefix(r.out, "usage: "+name) {
			t.Errorf("%s --help: %+v", name, r)
		}
		if strings.Contains(" yes kill capsh find dd stty seq ", " "+name+" ") {
			continue // their arguments are no options in that sense
		}
		r = command(t, bin, dir, "", filepath.Join(bin, name), "-@")
		if r.exit != 2 || !strings.Contains(r.err, "usage: "+name) || r.out != "" {
			t.Errorf("%s -@: %+v", name, r)
		}
	}
}

func TestErrorsHaveTheClassicForm(t *testing.T) {
	bin, dir := binDir(t), t.TempDir()
	for _, name := range []string{"ls", "cat", "rm", "stat", "head", "wc", "sort", "touch /x/y", "chmod 644", "chown 0", "cut -c1", "du"} {
		cmd := strings.Fields(name + " nope/x")
		r := command(t, bin, dir, "", filepath.Join(bin, cmd[0]), cmd[1:]...)
		if want := cmd[0] + ": nope/x: no such file or directory\n"; !strings.HasSuffix(r.err, want) || r.exit == 0 {
			t.Errorf("%s: %+v, want %q", name, r, want)
		}
	}
}

func TestLsPrintsNoControlCharacters(t *testing.T) {
	bin, dir := binDir(t), t.TempDir()
	for _, name := range []string{"bell\a", "clear\x1b[2J", "c1\u009b2J", "\u00e9t\u00e9"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r := shell(t, bin, dir, "ls | cat"); r.out != "bell?\nc1?2J\nclear?[2J\n\u00e9t\u00e9\n" {
		t.Errorf("%+q", r.out)
	}
}

func TestPsShowsTheProcess(t *testing.T) {
	bin := binDir(t)
	r := shell(t, bin, t.TempDir(), `sleep 1000 & p=$!; until ps -o args= -p $p | grep -q '^sleep'; do sleep 0.1; done; ps -o pid,ppid,comm,args -p $p; ps -o args= -p $p; pgrep -P $$ sleep > f; read q < f; [ $p = $q ] && echo found; kill $p; ps -p 99999999; echo $?`)
	lines := strings.Split(r.out, "\n")
	if len(lines) < 4 || !strings.HasSuffix(lines[1], "sleep 1000") || lines[2] != "sleep 1000" || lines[3] != "found" {
		t.Errorf("%+v", r)
	}
}

func TestTarDoesNotLeaveItsDirectory(t *testing.T) {
	bin, dir := binDir(t), t.TempDir()
	work := filepath.Join(dir, "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		t.Fatal(err)
	}
	script := `mkdir s; ln -s ../.. s/up; tar cf a.tar s; rm -r s; mkdir -p t/s/up; echo evil > t/s/up/escaped; (cd t; tar cf ../b.tar s/up/escaped); tar xf a.tar; tar xf b.tar; echo $?`
	r := shell(t, bin, work, script)
	if _, err := os.Lstat(filepath.Join(dir, "escaped")); err == nil {
		t.Error("tar wrote through a symbolic link that leads out")
	}
	if r.out != "2\n" {
		t.Errorf("%+v", r)
	}
}

// TestConnections: nc passes on both directions and the end of each; getent asks for names.
func TestConnections(t *testing.T) {
	bin := binDir(t)
	tool(t, "unshare")
	unshare, _ := exec.LookPath("unshare")
	if got := command(t, bin, t.TempDir(), "", unshare, "-Urn", filepath.Join(bin, "true")); got.exit != 0 {
		lacks(t, "userns", "there are no user namespaces: %s", got.err)
	}
	// In a network of its own, where nobody else takes the port.
	got := command(t, bin, t.TempDir(), "", unshare, "-Urn", filepath.Join(bin, "sh"), "-c", `
		ip link set lo up
		echo page | nc -l 127.0.0.1 7000 > asked & until echo ask | nc 127.0.0.1 7000 > page 2> /dev/null; do sleep 0.05; done; wait; cat page asked
		nc -w 5 127.0.0.1 7000; echo $?; nc -z 127.0.0.1 7000; echo $?; nc -w x 127.0.0.1 7000; echo $?
		nc -l -k 7000 < /dev/null > many & until nc -z 127.0.0.1 7000 2> /dev/null; do sleep 0.05; done; echo a | nc 127.0.0.1 7000; echo b | nc 127.0.0.1 7000; until grep -q b many; do sleep 0.05; done; kill $!; cat many
		getent hosts localhost | wc -l; getent hosts nosuch.invalid; echo $?`)
	if want := "page\nask\n1\n1\n1\na\nb\n1\n2\n"; got.out != want {
		t.Errorf("got %q, want %q\n%s", got.out, want, got.err)
	}
	if want := "nc: 127.0.0.1 port 7000: connection refused\n"; !strings.Contains(got.err, want) {
		t.Errorf("%q lacks %q", got.err, want)
	}
}
