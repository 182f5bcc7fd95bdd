package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Scripts and what they must print and exit with. The words are POSIX shell;
// dash and bash print the same.
var scripts = []struct {
	name, script, out string
	exit              int
	err               string // a part of standard error
}{
	{"exit status is the last command's", `false; true; false`, "", 1, ""},
	{"exit", `exit 7`, "", 7, ""},
	{"not found is 127", `nosuch; echo $?`, "127\n", 0, "sh: nosuch: not found"},
	{"not executable is 126", `: > f; ./f; echo $?`, "126\n", 0, "sh: ./f: permission denied"},
	{"directory is 126", `mkdir d; ./d; echo $?`, "126\n", 0, "is a directory"},
	{"killed is 128+N", `sh -c 'kill -9 $$'; echo $?; sh -c 'kill -TERM $$'; echo $?`, "137\n143\n", 0, ""},
	{"quit signal has no Go trace", `sh -c 'kill -QUIT $$; :'; echo $?`, "131\n", 0, ""},
	{"pipe", `printf 'b\na\n' | sort | head -n 1`, "a\n", 0, ""},
	{"pipe status", `false | true; echo $?; true | false; echo $?`, "0\n1\n", 0, ""},
	{"glob", `touch a1 a2 b; echo a*; echo nope*`, "a1 a2\nnope*\n", 0, ""},
	{"cd and pwd", `mkdir x; cd x; pwd | sed 's/.*\///'; readlink /proc/$$/cwd | sed 's/.*\///'`, "x\nx\n", 0, ""},
	{"cd in a subshell stays there", `mkdir x; (cd x; pwd | sed 's/.*\///'); [ -d x ] && echo still`, "x\nstill\n", 0, ""},
	{"cd error", `cd nope; echo $?`, "1\n", 0, "sh: cd: nope: no such file or directory"},
	{"here-document", "x=1\ncat <<A\n$x $(echo 2)\nA\ncat <<'B'\n$x\nB\ncat <<-C\n\ttab\n\tC\n", "1 2\n$x\ntab\n", 0, ""},
	{"here-document at the end", "cat <<A\nlast\nA", "last\n", 0, ""},
	{"here-document of exec", "exec cat <<A\nlast\nA", "last\n", 0, ""},
	{"redirections", `echo a > f; echo b >> f; cat < f; ls nope 2> e; cat e; ls nope > all 2>&1; cat all`,
		"a\nb\nls: nope: no such file or directory\nls: nope: no such file or directory\n", 0, ""},
	{"redirection error", `cat < nope; echo $?`, "1\n", 0, "sh: nope: no such file or directory"},
	{"umask rules new files", `umask 027; echo > f; stat -c %a f; umask; umask -S`, "640\n0027\nu=rwx,g=rx,o=\n", 0, ""},
	{"functions and arguments", `f() { echo "$# $1"; return 3; }; f a b; echo $?`, "2 a\n3\n", 0, ""},
	{"arguments", `echo "$0 $# $2"`, "sh 2 y\n", 0, ""},
	{"set -e", `set -e; false; echo no`, "", 1, ""},
	{"set -u", `set -u; echo $nope; echo no`, "", 1, ""},
	{"loops and case", `for i in 1 2 3; do case $i in 2) continue;; 3) break;; esac; echo $i; done; i=0; while [ $i -lt 2 ]; do i=$((i+1)); done; echo $i`, "1\n2\n", 0, ""},
	{"test says what is wrong", `[ a -eq 1 ]; echo $?; [ a; echo $?; test 1 -lt 2x; echo $?; [ 1 -eq 1 ] && echo yes`, "2\n2\n2\nyes\n", 0, "sh: [: a: not a number"},
	{"test looks where the subshell is", `mkdir x; : > x/f; (cd x; [ -f f ] && [ -r f ] && [ f -ef ../x/f ] && echo there); [ -f f ] || echo not here`, "there\nnot here\n", 0, ""},
	{"functions come before builtins, also in subshells", `printf() { echo "mine $*"; }; test() { echo "my $*"; }; (printf a); x=$(printf b); echo "$x"; printf c | cat; (test d)`, "mine a\nmine b\nmine c\nmy d\n", 0, ""},
	{"test of the shell itself", `X=1; [ -v X ] && echo set; [ -v Y ] || echo not; [ ! x -o y ] || echo negated`, "set\nnot\nnegated\n", 0, ""},
	{"test -t knows redirections", `[ -t 1 ] || echo no; [ -t 0 ] < /dev/null || echo no; test -t 9 || echo no`, "no\nno\nno\n", 0, ""},
	{"printf in a subshell", `(printf '%.2f\n' 1) | cat; x=$(printf '%03d' 7); echo $x; printf; echo $?`, "1.00\n007\n2\n", 0, "sh: printf: a format is needed"},
	{"printf to a full disk", `printf x > /dev/full; echo $?`, "1\n", 0, "sh: printf: no space left on device"},
	{"echo to a full disk", `echo x > /dev/full; echo $?`, "1\n", 0, "sh: echo: no space left on device"},
	{"a loop that nobody reads ends", `while :; do echo x; done | head -n 1; while :; do printf y; done | head -c 1; echo`, "x\ny\n", 0, ""},
	{"as does what it runs", `set -o pipefail; yes | head -n 1; echo $?; while :; do echo; done | true; echo $?`, "y\n141\n141\n", 0, ""},
	{"nobody reads and that is ignored", `trap '' PIPE; (until echo x; s=$?; [ $s != 0 ]; do :; done; echo $s > f) | head -n 1; cat f`, "x\n1\n", 0, "sh: echo: broken pipe"},
	{"quotes", `x='a  b'; echo "$x" $x '$x'`, "a  b a b $x\n", 0, ""},
	{"parameter expansion", `x=abc.tar; echo ${x%.tar} ${#x} ${y:-d} ${x#a}`, "abc 7 d bc.tar\n", 0, ""},
	{"exit trap", `trap 'echo bye $?' EXIT; exit 4`, "bye 4\n", 4, ""},
	{"exit trap at the end", `trap 'echo bye' EXIT; true`, "bye\n", 0, ""},
	{"signal trap", `trap 'echo got; exit 5' TERM; kill -TERM $$; echo no`, "got\n", 5, ""},
	{"signal trap goes on", `trap 'echo got' USR1; kill -USR1 $$; echo on`, "got\non\n", 0, ""},
	{"trap ends wait", `trap 'n=got' USR1; (while kill -USR1 $$; do sleep 0.1; done) & k=$!; sleep 1000 & p=$!; wait $p; echo $?; echo $n; kill $k $p`, "138\ngot\n", 0, ""},
	{"kill -PIPE of the shell itself", `kill -PIPE $$; echo no`, "", -1, ""},
	{"trap of PIPE", `trap 'echo got' PIPE; kill -PIPE $$; echo on; trap '' PIPE; kill -PIPE $$; echo alive`, "got\non\nalive\n", 0, ""},
	{"echo -e", `echo -e 'a\tb\c' c; echo; echo -e '100%\0101\x42\u00e9\\'; echo '\c'; echo -e %s`, "a\tb\n100%AB\u00e9\\\n\\c\n%s\n", 0, ""},
	{"signal ignored", `trap '' TERM; kill -TERM $$; echo alive`, "alive\n", 0, ""},
	{"trap reset", `trap 'echo no' TERM; trap - TERM; kill -TERM $$; sleep 1; echo no`, "", -1, ""},
	{"background process is real", `sleep 1000 & kill -0 $! && echo there; kill $!; wait $!; echo $?`, "there\n143\n", 0, ""},
	{"background becomes the command", `sleep 1000 & p=$!; until tr '\0' ' ' < /proc/$p/cmdline | grep '^sleep'; do sleep 0.1; done; kill $p`, "sleep 1000 \n", 0, ""},
	{"background arguments become the command", `set -- sleep 1000; "$@" & p=$!; until tr '\0' ' ' < /proc/$p/cmdline | grep '^sleep'; do sleep 0.1; done; kill $p`, "sleep 1000 \n", 0, ""},
	{"a variable names a function", `f() { cat /dev/null; echo after; }; x=f; $x`, "after\n", 0, ""},
	{"a variable names a builtin", `x=eval; $x 'cat /dev/null; echo after'`, "after\n", 0, ""},
	{"background knows functions and variables", `x=1; f() { echo "$x $1"; }; f a & wait`, "1 a\n", 0, ""},
	{"background keeps $$", `(echo $$) > a & wait; echo $$ > b; cmp a b && echo same`, "same\n", 0, ""},
	{"background arguments", `echo "$1" & wait`, "x\n", 0, ""},
	{"wait status", `sh -c 'exit 9' & wait $!; echo $?; wait 99999; echo $?`, "9\n127\n", 0, "not a child"},
	{"kill %1", `sleep 1000 & kill %1; wait %1; echo $?`, "143\n", 0, ""},
	{"background input is empty", `cat & wait; echo done`, "done\n", 0, ""},
	{"exec replaces", `echo $$ > a; exec sh -c 'echo $$ > b; cmp a b && echo same'`, "same\n", 0, ""},
	{"exec failure ends", `exec nosuch; echo no`, "", 127, "not found"},
	{"exec in a subshell", `(exec echo a; echo no); echo b | exec cat; echo c`, "a\nb\nc\n", 0, ""},
	{"exec redirects", `exec > f; echo hidden; exec > /dev/stderr; cat f >&2`, "", 0, "hidden"},
	{"last command replaces", `sh -c 'readlink /proc/self/exe > /dev/null; echo x'`, "x\n", 0, ""},
	{"command -v", `command -v cd; command -v nosuch; echo $?; f() { :; }; command -v f`, "cd\n1\nf\n", 0, ""},
	{"type", `type cd`, "cd is a shell builtin\n", 0, ""},
	{"eval", `eval 'sleep 0 & wait $!; echo $?'; x='a b'; eval "set -- $x"; echo $2`, "0\nb\n", 0, ""},
	{"source", `echo 'y=5; echo "in $1"' > s; . ./s arg; echo $y; . ./nope; echo $?`, "in arg\n5\n1\n", 0, "nope"},
	{"read", `printf 'a b c\n' | while read x y; do echo "$y-$x"; done`, "b c-a\n", 0, ""},
	{"command substitution", "echo $(echo a; echo b) `echo c`; x=$(false); echo $?", "a b c\n1\n", 0, ""},
	{"script without #!", `echo 'echo ran $1' > s; chmod +x s; ./s now`, "ran now\n", 0, ""},
	{"script with #!", `printf '#!%s\necho ran $1\n' "$(command -v sh)" > s; chmod +x s; ./s now`, "ran now\n", 0, ""},
	{"syntax error after commands", "echo first\nif )", "first\n", 2, "sh: "},
	{"unclosed quote", `echo "a`, "", 2, "without closing quote"},
	{"ulimit", `ulimit -n 64; ulimit -n; sh -c 'ulimit -n'; ulimit -Hn`, "64\n64\n64\n", 0, ""},
	{"ulimit of one's own", `ulimit -S -n 64; sh -c 'ulimit -n; ulimit -S -n 32; sh -c "ulimit -n"'`, "64\n32\n", 0, ""},
	{"time", `time true; echo $?; time false; echo $?`, "0\n1\n", 0, "real"},
	{"alias of options", `echo -ne 'a\tb\n'; echo -n x; echo`, "a\tb\nx\n", 0, ""},
	{"xtrace", `set -x; echo a`, "a\n", 0, "+ echo a\n"},
	{"environment", `X=1 env | grep ^X; export Y=2; env | grep ^Y; Z=3; env | grep -c ^Z`, "X=1\nY=2\n0\n", 1, ""},
	{"directories in PATH", `mkdir p; echo 'echo mine' > p/tool; chmod +x p/tool; PATH=$PWD/p:$PATH; tool`, "mine\n", 0, ""},
	{"arithmetic", `echo $((2*3+1)) $((7/2)) $((1<2))`, "7 3 1\n", 0, ""},
	{"nested background", `{ sleep 0 & wait; echo in; } & wait; echo out`, "in\nout\n", 0, ""},
	{"getopts", `while getopts ab: o; do echo $o $OPTARG; done`, "", 0, ""},
}

func TestScripts(t *testing.T) {
	bin := binDir(t)
	for _, s := range scripts {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			r := shell(t, bin, t.TempDir(), s.script, "x", "y")
			if r.out != s.out || r.exit != s.exit || !strings.Contains(r.err, s.err) {
				t.Errorf("%s\nout  %q\nwant %q\nexit %d, want %d\nerr  %q, want a part %q", s.script, r.out, s.out, r.exit, s.exit, r.err, s.err)
			}
			if strings.Contains(r.err, "goroutine") {
				t.Errorf("standard error has a Go trace: %s", r.err)
			}
		})
	}
}

func TestShellReadsScriptFromInput(t *testing.T) {
	bin := binDir(t)
	r := command(t, bin, t.TempDir(), "read x\nfor me\necho \"got $x\"\nif true\nthen echo yes\nfi\ncat <<'A'\n$x\nA\nexit 3\necho no\n", filepath.Join(bin, "sh"))
	if r.out != "got for me\nyes\n$x\n" || r.exit != 3 {
		t.Errorf("%+v", r)
	}
}

func TestShellRunsFileWithArguments(t *testing.T) {
	bin, dir := binDir(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "s"), []byte("echo $0 $1 $#; exit 2"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := command(t, bin, dir, "", filepath.Join(bin, "sh"), "s", "a", "b")
	if r.out != "s a 2\n" || r.exit != 2 {
		t.Errorf("%+v", r)
	}
	r = command(t, bin, dir, "", filepath.Join(bin, "sh"), "nope")
	if r.exit != 127 || !strings.Contains(r.err, "sh: nope: no such file or directory") {
		t.Errorf("%+v", r)
	}
}

func TestShellRefusesUnknownOption(t *testing.T) {
	bin := binDir(t)
	if r := command(t, bin, t.TempDir(), "", filepath.Join(bin, "sh"), "-Z"); r.exit != 2 || !strings.Contains(r.err, "usage: sh") {
		t.Errorf("%+v", r)
	}
}

func TestLoginShellReadsProfile(t *testing.T) {
	bin, dir := binDir(t), t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ".profile"), []byte("echo profile\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := command(t, bin, dir, "", filepath.Join(bin, "sh"), "-l", "-c", "echo on")
	if !strings.HasSuffix(r.out, "profile\non\n") {
		t.Errorf("%+v", r)
	}
}
