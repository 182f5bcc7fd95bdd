package cli_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/tartest"
)

// The drivers of `tiffin run --driver`: what they must agree on, and the table of the book,
// "The kernel's own overlayfs" in chapter 3, of what they do not.

// bench is a store of a person's, with the image "stuff" in it.
type bench struct {
	t     *testing.T
	p     person
	dir   string
	probe string // this test binary, where the person can read it
}

func newBench(t *testing.T, p person) *bench {
	t.Helper()
	need(t, p)
	dir, err := os.MkdirTemp("/var/tmp", "tiffin-driver-") // a tmpfs has no user.* attributes before Linux 6.6
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t, p, dir, filepath.Join(dir, "driver-probe")}
	t.Cleanup(func() {
		checkLeaks(t, b.store())
		os.RemoveAll(dir)
	})
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(b.probe, self, 0o755)
	}
	if err == nil {
		err = os.Chown(dir, p.uid, p.gid)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// store is where the images and containers are: a path with all that separates options of mount(2).
func (b *bench) store() string { return filepath.Join(b.dir, `a,b:c\d e`) }

// run is one call of tiffin; input is its standard input.
func (b *bench) run(input []byte, args ...string) (string, error) {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+b.store(), "HOME="+b.dir, "SOURCE_DATE_EPOCH=1")
	cmd.Dir, cmd.SysProcAttr, cmd.Stdin = "/", b.p.attr(), bytes.NewReader(input)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(out), err
}

func (b *bench) tiffin(args ...string) string {
	b.t.Helper()
	out, err := b.run(nil, args...)
	if err != nil {
		b.t.Fatalf("tiffin %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// subordinate tells whether containers have more ids than the person's own.
func (b *bench) subordinate() bool {
	b.t.Helper()
	return strings.Count(b.tiffin("run", "--rm", "tiffin/base", "cat", "/proc/self/uid_map"), "\n") > 1
}

// changes are made in a container of tiffin/base; what all drivers can do, and all kinds of it.
const changes = `set -e
echo menu > /etc/menu; chmod 600 /etc/menu; echo more >> /etc/passwd; rm /etc/shells
mkdir -p /new/deep; ln -s ../x /new/deep/link; echo a > /new/a; ln /new/a /new/b
mkfifo /new/fifo; mkdir /new/sticky; chmod 1777 /new/sticky; chmod 4755 /new/a
rm -r /mnt; echo file > /mnt; rm -r /srv
mkdir /gone; rmdir /gone; touch /home/.hidden`

// replaced is a directory that the driver copy cannot tell from the one before: its layer has a
// whiteout for each file.
const replaced = "\nrm -r /usr/share; mkdir /usr/share; echo opaque > /usr/share/readme"

func TestDriversCommitTheSameLayer(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			script := changes
			if b.subordinate() {
				script += "\nchown 7:9 /new/a /new/sticky /etc/group" // ids that are there
			}
			b.commitTheSame(script, "overlay", "unpacked", "copy")
			b.commitTheSame(script+replaced, "overlay", "unpacked")
		})
	}
}

// commitTheSame compares drivers with fuse.
func (b *bench) commitTheSame(script string, drivers ...string) {
	b.t.Helper()
	diff, layers := map[string]string{}, map[string]string{}
	drivers = append([]string{"fuse"}, drivers...)
	for _, driver := range drivers {
		b.tiffin("run", "--driver", driver, "--name", driver, "tiffin/base", "sh", "-c", script)
		diff[driver] = b.tiffin("diff", driver)
		b.tiffin("run", "--rm", "--driver", driver, "-v", b.probe+":/driver-probe:ro", "tiffin/base", "/driver-probe", "numbers")
		b.tiffin("commit", driver, driver+":1")
		layers[driver] = b.tiffin("inspect", "--format", "{{json .RootFS.Layers}}", driver+":1")
		if got := b.tiffin("inspect", "--format", "{{.GraphDriver.Name}}", driver); got != driver+"\n" {
			b.t.Errorf("driver %s is shown as %s", driver, got)
		}
	}
	for _, driver := range drivers[1:] {
		if diff["fuse"] != diff[driver] || !strings.Contains(diff["fuse"], "A /etc/menu\n") {
			b.t.Errorf("diff, fuse:\n%s%s:\n%s", diff["fuse"], driver, diff[driver])
		}
		if layers["fuse"] != layers[driver] {
			b.t.Errorf("the layers differ: %s and %s", layers["fuse"], layers[driver])
			list := func(name string) string {
				return b.tiffin("run", "--rm", name, "ls", "-lnR", "/new", "/etc", "/usr/share", "/home")
			}
			b.t.Logf("fuse:\n%s\n%s:\n%s", list("fuse:1"), driver, list(driver+":1"))
		}
	}
	b.tiffin(append([]string{"rm"}, drivers...)...)
}

// TestOverlayKeepsItsChangesUntilRm: start after stop sees them, exec too, and what belongs to
// other ids goes as well.
func TestOverlayKeepsItsChangesUntilRm(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			b.tiffin("run", "-d", "--driver", "overlay", "--name", "kept", "tiffin/base", "sleep", "1000")
			b.tiffin("exec", "kept", "sh", "-c", "mkdir -m 700 /box; echo x > /box/x; chown -R 5 /box 2> /dev/null; chmod 751 /; true")
			b.tiffin("stop", "-t", "0", "kept")
			store := b.store()
			if left, _ := filepath.Glob(filepath.Join(store, "containers/*/overlay/work/*")); len(left) > 0 {
				t.Errorf("rm -rf of the store would meet %s", left)
			}
			b.tiffin("start", "kept")
			if got := b.tiffin("exec", "kept", "sh", "-c", "cat /box/x; stat -c %a /"); got != "x\n751\n" {
				t.Errorf("after a start: %q", got)
			}
			if got := b.tiffin("diff", "kept"); got != "A /box\nA /box/x\n" {
				t.Errorf("diff: %q", got)
			}
			b.tiffin("rm", "-f", "kept")
			b.tiffin("run", "--rm", "--driver", "overlay", "tiffin/base", "sh", "-c", "mkdir -m 700 /box; echo x > /box/x; chown -R 5 /box 2> /dev/null; true")
			if left, _ := filepath.Glob(filepath.Join(store, "containers/*")); len(left) > 0 {
				t.Errorf("left: %s", left)
			}
		})
	}
}

// TestCommitOfRunningOverlayHoldsItStill: a file that is written all the time is whole in the
// layer, who was stopped before stays stopped, and all others go on.
func TestCommitOfRunningOverlayHoldsItStill(t *testing.T) {
	ps := people(t)
	b := newBench(t, ps[len(ps)-1])
	b.tiffin("run", "-d", "--driver", "overlay", "--name", "busy", "-v", b.probe+":/driver-probe:ro", "tiffin/base", "sh", "-c",
		"sleep 1000 & kill -STOP $!; echo $! > /stopped; exec /driver-probe pairs /pairs")
	waitFor(t, func() bool {
		_, err := b.run(nil, "exec", "busy", "test", "-s", "/pairs")
		return err == nil
	})
	b.tiffin("commit", "busy", "busy:1")
	out := b.tiffin("run", "--rm", "-v", b.probe+":/driver-probe:ro", "busy:1", "/driver-probe", "check", "/pairs")
	if out != "whole\n" {
		t.Errorf("the committed file is %s", out)
	}
	size := b.tiffin("exec", "busy", "stat", "-c", "%s", "/pairs")
	waitFor(t, func() bool { return b.tiffin("exec", "busy", "stat", "-c", "%s", "/pairs") != size })
	if got := b.tiffin("exec", "busy", "sh", "-c", "sed -n 's/^State:[[:space:]]*//p' /proc/$(cat /stopped)/status"); !strings.HasPrefix(got, "T") {
		t.Errorf("who was stopped before the commit is now %q", got)
	}
	b.tiffin("rm", "-f", "busy")
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not happen")
		}
	}
}

// difference is a row of the book's table.
type difference struct {
	what          string
	fuse, overlay string
	show          func() (string, error) // in the container
}

const (
	keepsNumber  = "a file that is changed has the same inode number after a restart"
	copiesOfAttr = "chmod(2), chown(2), utimensat(2) of a large file copy nothing"
)

// differences are in the order of the table; a last column says more there.
var differences = []difference{
	{"rename(2) of a directory of the image", "yes", "EXDEV", func() (string, error) { return yes(os.Rename("/dir", "/moved")) }},
	{"two names of a file (a hard link) are still one file after a change", "yes", "no", func() (string, error) {
		if err := appendTo("/link1"); err != nil {
			return "", err
		}
		b, err := os.ReadFile("/link2")
		return truth(strings.HasSuffix(string(b), "+")), err
	}},
	{keepsNumber, "yes", "no", func() (string, error) { // the test compares the numbers of two runs
		before, err := stat("/number")
		if err != nil {
			return "", err
		}
		if err := appendTo("/number"); err != nil {
			return "", err
		}
		after, err := stat("/number")
		return fmt.Sprintf("inode %d, then %d", before.Ino, after.Ino), err
	}},
	{"who has mapped a file (mmap(2)) sees what is written to it later", "yes", "no", func() (string, error) {
		f, err := os.Open("/mapped")
		if err != nil {
			return "", err
		}
		m, err := unix.Mmap(int(f.Fd()), 0, 1, unix.PROT_READ, unix.MAP_SHARED)
		if err != nil || m[0] != 'x' {
			return "", fmt.Errorf("%w, byte %q", err, m)
		}
		err = os.WriteFile("/mapped", []byte("y"), 0)
		return truth(m[0] == 'y'), err
	}},
	{"link counts of directories are those of POSIX", "yes", "no", func() (string, error) {
		if err := os.Mkdir("/counted/more", 0o755); err != nil {
			return "", err
		}
		st, err := stat("/counted")
		return truth(st.Nlink == 4), err // itself, ".", and two subdirectories' ".."
	}},
	{copiesOfAttr, "yes", "no", func() (string, error) {
		return yes(os.Chmod("/large", 0o600)) // the test looks at the upper directory afterwards
	}},
	{"a device node of the image can be changed", "yes", "EPERM", func() (string, error) { return yes(os.Chmod("/device", 0o600)) }},
	{"a device node 0:0 in the image is a file like any other", "yes", "no", func() (string, error) {
		_, err := os.Lstat("/zero")
		return truth(err == nil), nil
	}},
	{"a name that no layer can hold (`.wh.…`) is refused", "yes", "no", func() (string, error) {
		err := os.WriteFile("/.wh.name", nil, 0o644)
		return truth(err != nil), nil
	}},
}

func appendTo(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString("+")
	return err
}

func stat(path string) (st unix.Stat_t, err error) { return st, unix.Stat(path, &st) }

func truth(yes bool) string {
	if yes {
		return "yes"
	}
	return "no"
}

// yes says so, or names the errno.
func yes(err error) (string, error) {
	var errno syscall.Errno
	if e, ok := err.(*os.PathError); ok {
		err = e.Err
	} else if e, ok := err.(*os.LinkError); ok {
		err = e.Err
	}
	if err == nil {
		return "yes", nil
	}
	if e, ok := err.(syscall.Errno); ok {
		errno = e
		return unix.ErrnoName(errno), nil
	}
	return "", err
}

// largeSize is the size of /large, in bytes.
const largeSize = 4 << 20

func TestDriversDifferAsTheBookSays(t *testing.T) {
	chapter, err := os.ReadFile("../../tutorial/book/3-fuse.md")
	if err != nil {
		t.Fatal(err)
	}
	ps := people(t)
	b := newBench(t, ps[len(ps)-1])
	image := tartest.Of(t,
		tartest.Dir("dir"), tartest.File("dir/file", "x"), tartest.File("link1", "x"), tartest.Hardlink("link2", "link1"),
		tartest.File("number", "x"), tartest.File("mapped", "x"), tartest.Dir("counted"), tartest.Dir("counted/one"),
		tartest.File("large", strings.Repeat("1234567\n", largeSize/8)), tartest.Char("device", 1, 3), tartest.Char("zero", 0, 0))
	if _, err := b.run(image, "import", "-", "stuff"); err != nil {
		t.Fatal(err)
	}
	found := func(driver, out string) []string {
		var list []string
		if err := json.Unmarshal([]byte(out), &list); err != nil || len(list) != len(differences) {
			t.Fatalf("%s: %v: %s", driver, err, out)
		}
		return list
	}
	got := map[string][]string{}
	for _, driver := range []string{"fuse", "overlay"} {
		list := found(driver, b.tiffin("run", "--userns", "single", "--driver", driver, "--name", driver, "-v", b.probe+":/driver-probe:ro", "stuff", "/driver-probe", "differences"))
		again := found(driver, b.tiffin("start", "-a", driver))
		for i, d := range differences {
			switch d.what {
			case keepsNumber:
				list[i] = truth(list[i] == again[i])
			case copiesOfAttr: // with one id, its owner may look
				list[i] = truth(b.upperSize(driver) < largeSize/2)
			}
		}
		got[driver] = list
	}
	for i, d := range differences {
		if fuse, overlay := got["fuse"][i], got["overlay"][i]; fuse != d.fuse || overlay != d.overlay {
			t.Errorf("%s: fuse %s, overlay %s; want %s and %s", d.what, fuse, overlay, d.fuse, d.overlay)
		}
		if row := fmt.Sprintf("| %s | %s | %s |", d.what, d.fuse, d.overlay); !strings.Contains(string(chapter), row) {
			t.Errorf("the chapter has no row %s", row)
		}
	}
	if _, err := b.run(nil, "commit", "overlay", "x"); err == nil || !strings.Contains(err.Error(), ".wh.") {
		t.Errorf("commit of a name that no layer can hold: %v", err)
	}
	b.tiffin("rm", "fuse", "overlay")
}

// upper is where a container's changes are.
func (b *bench) upper(name string) string {
	b.t.Helper()
	return strings.TrimSpace(b.tiffin("inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", name))
}

// upperSize is how many bytes a container's large file takes on disk.
func (b *bench) upperSize(name string) int64 {
	b.t.Helper()
	st, err := stat(filepath.Join(b.upper(name), "large"))
	if err != nil {
		b.t.Fatal(err)
	}
	return st.Blocks * 512
}

// driverProbe is the main function of this binary in a container.
func driverProbe() {
	var err error
	switch os.Args[1] {
	case "differences":
		var list []string
		for _, d := range differences {
			answer, err := d.show()
			if err != nil {
				answer = d.what + ": " + err.Error()
			}
			list = append(list, answer)
		}
		err = json.NewEncoder(os.Stdout).Encode(list)
	case "pairs":
		err = writePairs(os.Args[2])
	case "check":
		err = checkPairs(os.Args[2])
	case "numbers":
		err = errors.Join(os.WriteFile("/home/new", nil, 0o644), os.Chmod("/usr/bin", 0o700), sameNumbers("/usr"), sameNumbers("/home"))
	case "refuse-fuse":
		err = refuseFUSE(os.Args[2:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// sameNumbers compares d_ino of getdents(2) with st_ino of stat(2) in a directory.
func sameNumbers(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := make([]byte, 64<<10)
	n, err := unix.Getdents(int(f.Fd()), buf)
	for b := buf[:max(n, 0)]; len(b) > 0 && err == nil; {
		e := (*unix.Dirent)(unsafe.Pointer(&b[0]))
		name, _, _ := strings.Cut(string(b[unsafe.Offsetof(e.Name):e.Reclen]), "\x00")
		var st unix.Stat_t
		if err = unix.Lstat(filepath.Join(dir, name), &st); err == nil && st.Ino != e.Ino && name != ".." {
			err = fmt.Errorf("%s/%s: d_ino %d, st_ino %d", dir, name, e.Ino, st.Ino)
		}
		b = b[e.Reclen:]
	}
	return err
}

// writePairs appends to a file and to a second one, always first the first.
func writePairs(path string) error {
	for n := 0; ; n++ {
		line := fmt.Sprintf("%015d\n", n)
		for _, name := range []string{path, path + ".second"} {
			f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
			if err != nil {
				return err
			}
			if _, err := f.WriteString(line); err != nil {
				return err
			}
			f.Close()
		}
	}
}

// checkPairs says whether both files are of one moment.
func checkPairs(path string) error {
	first, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	second, err := os.ReadFile(path + ".second")
	if err != nil {
		return err
	}
	ahead := (len(first) - len(second)) / 16
	if len(first)%16 == 0 && len(second)%16 == 0 && ahead >= 0 && ahead <= 1 && bytes.HasPrefix(first, second) {
		fmt.Println("whole")
		return nil
	}
	fmt.Printf("torn: %d and %d bytes\n", len(first), len(second))
	return nil
}
