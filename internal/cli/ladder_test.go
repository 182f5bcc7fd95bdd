package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a machine lacks, and which driver is found then.

// lack is one of the ways in which a machine may be without something.
type lack struct {
	what   string
	take   string // shell commands, in a mount namespace of its own, which take it away
	root   bool   // only root can do that
	driver string
	note   string
}

// Of the three ways to be without /dev/fuse, an ordinary user can show the first. An overlayfs
// takes no upper directory on another one.
var lacks = []lack{
	{"another device", `mount --bind /dev/null /dev/fuse`, false, "overlay", "is not the device of FUSE"},
	{"a device of root's", `mknod "$DIR/fuse" c 10 229; chmod 600 "$DIR/fuse"; mount --bind "$DIR/fuse" /dev/fuse`, true, "overlay", "permission denied"},
	{"no device", `mount -t tmpfs none /dev; for d in null zero full random urandom tty; do mknod -m 666 /dev/$d c $(case $d in null) echo 1 3;; zero) echo 1 5;; full) echo 1 7;; random) echo 1 8;; urandom) echo 1 9;; tty) echo 5 0;; esac); done; mkdir /dev/net; mknod -m 666 /dev/net/tun c 10 200`, true, "overlay", "no such file or directory"},
	{"no overlayfs either", `mount --bind /dev/null /dev/fuse; mkdir "$DIR/low" "$DIR/work"; mkdir -p "$DIR/store"
mount -t overlay -o "$MARKS"lowerdir="$DIR/low",upperdir="$DIR/store",workdir="$DIR/work" none "$DIR/store"`, false, "copy", "and overlayfs does not work"},
}

// life is what becomes of a container that its driver serves, and of its image.
const life = `set -e
run() { "$TIFFIN" "$@"; }
run run --name box tiffin/base sh -c 'echo menu > /etc/menu; rm /etc/shells; chmod 700 /home'
run inspect -f '{{.GraphDriver.Name}}' box
run ps -a --format '{{.Driver}}'
echo $(run diff box)
run commit box changed > /dev/null
echo $(run run --rm changed sh -c 'cat /etc/menu; stat -c %a /home; ls /etc/shells 2>&1')
echo in > "$DIR/in"; run cp "$DIR/in" box:/etc/in; run cp box:/etc/in - | tar -xOf -
run export box | tar -tf - | grep -c -e 'etc/in$' -e 'etc/menu$' -e 'etc/shells$'
run start box > /dev/null; run wait box
run run --rm --upper tmpfs tiffin/base true 2>&1 | cut -d : -f 2
run picture run -o "$DIR/page" --rm tiffin/base true; grep -c -e '<section id="start"' -e '<section id="trace"' "$DIR/page"
run run -d --name long tiffin/base sleep 1000 > /dev/null
run exec long sh -c 'echo more >> /etc/passwd'; echo $(run diff long)
timeout 120 "$TIFFIN" trace long < /dev/null 2>&1 | head -n 1
run rm -f long box > /dev/null
run rmi changed tiffin/base > /dev/null
ls "$TIFFIN_ROOT/trees" | wc -l; ls "$TIFFIN_ROOT/containers" | wc -l`

const lifeWith = `%s
%[1]s
C /etc A /etc/menu D /etc/shells C /home
menu 700 ls: /etc/shells: no such file or directory
in
2
0
 --upper tmpfs needs --driver fuse
1
C /etc C /etc/passwd
tiffin: container long has its files unpacked: no file system of tiffin's is asked for them
0
0
`

func TestALadderWhereSomethingIsMissing(t *testing.T) {
	for _, p := range everybody(t) {
		for _, l := range lacks {
			t.Run(p.name+"/"+l.what, func(t *testing.T) {
				if l.root && os.Getuid() != 0 {
					t.Skip("only root can make a device node")
				}
				if p.uid == 0 && strings.Contains(l.what, "of root's") {
					t.Skip("that is no lack for root")
				}
				b := newBench(t, p)
				if err := os.Mkdir(filepath.Join(b.dir, "store"), 0o700); err != nil || os.Chown(filepath.Join(b.dir, "store"), p.uid, p.gid) != nil {
					t.Fatal(err)
				}
				out, stderr, err := b.without(l.take, life)
				if err != nil {
					t.Fatalf("%v\n%s%s", err, out, stderr)
				}
				if want := fmt.Sprintf(lifeWith, l.driver); out != want {
					t.Errorf("the container's life was\n%sinstead of\n%s", out, want)
				}
				note, rest, _ := strings.Cut(stderr, "\n")
				if !strings.HasPrefix(note, "tiffin: note: ") || !strings.Contains(note, l.note) || !strings.HasSuffix(note, ": --driver "+l.driver+" is used") ||
					strings.Count(rest, "note: ") != 3 { // of the three other runs
					t.Errorf("said: %s", stderr)
				}
			})
		}
	}
}

// TestADriverThatIsGone: a container keeps its driver, and a start without that says which, and how
// to go on.
func TestADriverThatIsGone(t *testing.T) {
	const script = `for verb in start export; do "$TIFFIN" $verb before 2>&1 && echo it works; done
"$TIFFIN" commit before after > /dev/null && "$TIFFIN" run --rm after cat /mark 2>&1`
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			b.tiffin("run", "--name", "before", "tiffin/base", "sh", "-c", "echo kept > /mark")
			out, stderr, err := b.without(`mount --bind /dev/null /dev/fuse`, "export TIFFIN_ROOT='"+b.store()+"'\n"+script)
			const said = "tiffin: container before was made with --driver fuse, and /dev/fuse is not the device of FUSE\nhint: `tiffin commit` "
			if err != nil || strings.Count(out, said) != 2 || !strings.HasSuffix(out, "\nkept\n") {
				t.Errorf("%v\n%s%s", err, out, stderr)
			}
		})
	}
}

// TestAStartThatWaitsCanBeInterrupted: while an image is unpacked, by this start or, as here, by
// another that does not come to an end.
func TestAStartThatWaitsCanBeInterrupted(t *testing.T) {
	const script = `set -e
"$TIFFIN" run --rm tiffin/base true
tree=$(echo "$TIFFIN_ROOT"/trees/*); "$TIFFIN" rmi tiffin/base > /dev/null
while [ -e "$tree" ]; do "$TIFFIN" prune -f > /dev/null; done # the run before may still have had it
mkdir "$tree"
exec 9< "$tree"; flock 9
for sig in INT TERM; do timeout --preserve-status -s $sig -k 120 2 "$TIFFIN" run --rm tiffin/base true || echo $?; done
"$TIFFIN" ps -aq`
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			if err := os.Mkdir(filepath.Join(b.dir, "store"), 0o700); err != nil || os.Chown(filepath.Join(b.dir, "store"), p.uid, p.gid) != nil {
				t.Fatal(err)
			}
			out, stderr, err := b.without(`mount --bind /dev/null /dev/fuse`, script)
			if want := "130\n143\n"; out != want || err != nil {
				t.Errorf("%q instead of %q, %v\n%s", out, want, err, stderr)
			}
		})
	}
}

// refused is a machine whose policy lets FUSE be opened, but not mounted.
const refused = `run() { "$PROBE" refuse-fuse "$TIFFIN" "$@"; }
run run --rm tiffin/base echo hi
run run --name box --read-only tiffin/base cat /etc/shells > /dev/null; run inspect -f '{{.GraphDriver.Name}}' box; run start -a box | grep -c sh
run run -d --rm tiffin/base true > /dev/null
run create --name late tiffin/base true > /dev/null; run start late; run wait late; run rm box late > /dev/null
! run run --driver fuse --rm tiffin/base true
run doctor | grep -e '^missing  fuse mount' -e '^ok       driver' | cut -c 1-60`

func TestAMountThatIsRefused(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			out, stderr, err := b.without(":", refused)
			if want := "hi\noverlay\n1\nlate\n0\nmissing  fuse mount         FUSE cannot be mounted in a user\nok       driver             a new container gets --driver ov\n"; out != want || err != nil {
				t.Errorf("%v\n%sinstead of\n%s", err, out, want)
			}
			if strings.Count(stderr, "operation not permitted: a seccomp filter around this session forbids it, as in a container: --driver overlay is used\n") != 4 ||
				!strings.Contains(stderr, "was made with --driver fuse, and FUSE cannot be mounted") {
				t.Errorf("said: %s", stderr)
			}
		})
	}
}

// refuseFUSE becomes a command under a filter of system calls that knows the mount of FUSE by its
// flags, which no other has.
func refuseFUSE(args []string) error {
	const flags, nr = 16 + 3*8, 0 // offsets in struct seccomp_data, seccomp(2), of mount's fourth argument
	is := func(offset uint32, value uintptr) []unix.SockFilter {
		return []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}, {Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(value), Jt: 1},
			{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
	}
	prog := append(is(nr, unix.SYS_MOUNT), append(is(flags, unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOATIME),
		unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})...)
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}))); errno != 0 {
		return errno
	}
	return unix.Exec(args[0], args, os.Environ())
}

// without runs a shell script as the person, after other commands have taken something away. They
// act in a mount namespace that nobody else is in.
func (b *bench) without(take, script string) (out, stderr string, err error) {
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", take+"\n"+
		fmt.Sprintf(`exec setpriv --reuid %d --regid %d --clear-groups sh -c "$SCRIPT"`, b.p.uid, b.p.gid))
	marks := ""
	if os.Getuid() != 0 { // root of a user namespace, which becomes its only user
		cmd.Args = []string{"unshare", "--map-root-user", "--mount", "sh", "-ec", take + "\n" + `exec sh -c "$SCRIPT"`}
		marks = "userxattr,"
	}
	cmd.Env = append(os.Environ(), "TIFFIN="+binary, "PROBE="+b.probe, "DIR="+b.dir, "TIFFIN_ROOT="+filepath.Join(b.dir, "store"), "HOME="+b.dir, "SCRIPT="+script, "MARKS="+marks)
	cmd.Dir = "/"
	var o, e strings.Builder
	cmd.Stdout, cmd.Stderr = &o, &e
	err = cmd.Run()
	return o.String(), e.String(), err
}

// inside is what a container does that has tiffin itself: it runs others. Its own files are no
// place for an overlayfs, it has no /dev/fuse, and the kernel gives it no new /proc.
const inside = `export HOME=/root; mkdir -p /root
tiffin doctor > /dev/null && echo fit
tiffin run --name inner tiffin/base sh -c 'echo menu > /etc/menu; id -u; sed -n 1p /proc/self/status; ls /proc/sys > /dev/null && echo settings; echo x 2> /dev/null > /proc/sys/kernel/hostname || echo closed' 2> /tmp/said
grep -c -e '--driver copy is used$' /tmp/said
tiffin inspect -f '{{range .Notes}}{{.What}}
{{end}}' inner | grep proc
tiffin start inner > /dev/null; tiffin wait inner
echo $(tiffin diff inner); tiffin commit inner new:1 > /dev/null; tiffin run --rm --driver copy new:1 cat /etc/menu
tiffin run -d --driver copy --name long tiffin/base sleep 100 > /dev/null; tiffin exec long echo exec; tiffin cp long:/etc/passwd - | tar -tf -; tiffin rm -f long inner > /dev/null`

func TestTiffinInTiffin(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			self, err := os.ReadFile(binary)
			program := filepath.Join(b.dir, "tiffin")
			if err != nil || os.WriteFile(program, self, 0o755) != nil {
				t.Fatal("copy the program:", err)
			}
			out := b.tiffin("run", "--rm", "--security-opt", "seccomp=unconfined", "-v", program+":/bin/tiffin:ro", "tiffin/base", "sh", "-c", inside)
			if want := "fit\n0\nName:\tsed\nsettings\nclosed\n1\nan own /proc\n0\nC /etc A /etc/menu\nmenu\nexec\npasswd\n"; out != want {
				t.Errorf("inside:\n%sinstead of:\n%s", out, want)
			}
			if out := b.tiffin("run", "--rm", "--security-opt", "seccomp=unconfined", "--device", "/dev/fuse", "-v", program+":/bin/tiffin:ro", "tiffin/base",
				"sh", "-c", "export HOME=/root; mkdir -p /root; tiffin run --network none --name inner tiffin/base true 2>&1; tiffin inspect -f '{{.GraphDriver.Name}}' inner"); out != "fuse\n" {
				t.Errorf("with the device, inside: %s", out)
			}
			// With the filter, no user namespace can be made, and that is what is said.
			_, err = b.run(nil, "run", "--rm", "-v", program+":/bin/tiffin:ro", "tiffin/base", "sh", "-c", "HOME=/tmp tiffin run --rm tiffin/base true")
			if err == nil || strings.Contains(err.Error(), "note:") || !strings.Contains(err.Error(), "tiffin run --security-opt seccomp=unconfined") {
				t.Errorf("without leave: %v", err)
			}
		})
	}
}

func TestDevicesAreTheMachines(t *testing.T) {
	ps := people(t)
	b := newBench(t, ps[len(ps)-1])
	if out := b.tiffin("run", "--rm", "--device", "/dev/zero:/dev/mine", "--device", "/dev/full:/deep/er:rwm", "tiffin/base", "sh", "-c",
		"head -c 3 /dev/mine | wc -c; stat -c %t:%T /dev/mine /deep/er; head -c 2 /deep/er | wc -c; echo x 2>&1 > /deep/er || echo full"); !strings.HasPrefix(out, "3\n1:5\n1:7\n2\n") {
		t.Errorf("%s", out)
	}
	for flag, want := range map[string]string{
		"/etc/passwd": "it is no device", "/nowhere": "--device /nowhere: no such file", "dev/null": "absolute", "/dev/null:/": "absolute", "/dev/null:/x:r": "takes neither",
		"/dev/null:/x:q": "takes neither", "vendor.com/gpu=0": "Container Device Interface", "/dev/stdin": "its own /dev/stdin", "/dev/null:/dev/ptmx": "its own /dev/ptmx",
	} {
		if _, err := b.run(nil, "run", "--rm", "--device", flag, "tiffin/base", "true"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", flag, err)
		}
	}
}

// images is what needs no container.
const images = `set -e
run() { "$TIFFIN" "$@"; }
cd "$DIR"; mkdir tree; echo menu > tree/menu; tar -C tree -cf tree.tar .
run import tree.tar stuff:1 > /dev/null; run save -o stuff.tar stuff:1; run rmi stuff:1 > /dev/null; run load -i stuff.tar
run images -q tiffin/base > /dev/null; run history stuff:1 > /dev/null; run inspect stuff:1 > /dev/null
run why stuff:1 /menu > /dev/null; run layers stuff:1 > /dev/null; run create --name box tiffin/base true > /dev/null; run diff box; run commit box kept > /dev/null; run rm box
run lab list > /dev/null
! run run --rm tiffin/base true; ! run doctor`

// TestImagesWhereNamespacesAreForbidden: the limit of user namespaces is 0 below one that the
// person makes, namespaces(7), "The /proc/sys/user directory".
func TestImagesWhereNamespacesAreForbidden(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			cmd := exec.Command("unshare", "--user", "--map-root-user", "sh", "-ec", `echo 0 > /proc/sys/user/max_user_namespaces; exec sh -c "$SCRIPT"`)
			cmd.SysProcAttr, cmd.Dir = p.attr(), "/"
			cmd.Env = append(os.Environ(), "TIFFIN="+binary, "DIR="+b.dir, "TIFFIN_ROOT="+b.store(), "HOME="+b.dir, "SCRIPT="+images)
			out, err := cmd.CombinedOutput()
			said := string(out)
			if err != nil || !strings.HasPrefix(said, "Loaded image: stuff:1\nbox\ntiffin: create a user namespace: ") ||
				strings.Count(strings.SplitN(said, "\nok ", 2)[0], "sysctl -w user.max_user_namespaces=15000") != 1 || strings.Contains(said, "note:") {
				t.Errorf("%v\n%s", err, said)
			}
		})
	}
}
