package cli_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/internal/test/must"
)

// lazyStore is a store of its own, and who types.
type lazyStore struct {
	t    *testing.T
	root string
}

func newLazyStore(t *testing.T) *lazyStore {
	s := &lazyStore{t, filepath.Join(t.TempDir(), "store")}
	t.Cleanup(func() {
		s.try("rm", "-f", "box")
		for _, pid := range s.fetchers() {
			syscall.Kill(pid, syscall.SIGKILL)
		}
		for end := time.Now().Add(time.Minute); len(supervisors(s.root))+len(s.fetchers()) > 0 && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
	})
	return s
}

func (s *lazyStore) command(args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Env = append(os.Environ(), "TIFFIN_ROOT="+s.root, "DOCKER_CONFIG="+s.t.TempDir(), "XDG_STATE_HOME="+s.t.TempDir())
	return cmd
}

func (s *lazyStore) try(args ...string) (string, error) {
	out, err := s.command(args...).CombinedOutput()
	return string(out), err
}

func (s *lazyStore) tiffin(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("%q: %v\n%s", args, err, out)
	}
	return out
}

// refused runs a command that has to fail with a message.
func (s *lazyStore) refused(want string, args ...string) {
	s.t.Helper()
	if out, err := s.try(args...); err == nil || !strings.Contains(out, want) {
		s.t.Errorf("%q: %v instead of %q\n%s", args, err, want, out)
	}
}

// fetchers are the programs that fetch for this store.
func (s *lazyStore) fetchers() (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range all {
		if b, _ := os.ReadFile(file); bytes.Contains(b, []byte("\x00__lazy\x00"+s.root+"\x00")) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}

// pulled waits until nothing is being pulled any more.
func (s *lazyStore) pulled() {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(s.root, "lazy")); err != nil && len(s.fetchers()) == 0 {
			return
		}
		if time.Now().After(end) {
			left, _ := filepath.Glob(filepath.Join(s.root, "lazy/*/*"))
			trouble, _ := os.ReadFile(filepath.Join(filepath.Dir(strings.Join(append(left, "/")[:1], "")), "trouble"))
			s.t.Fatalf("it is still being pulled: %q, %s", left, trouble)
		}
	}
}

// TestLazyPull is a life of an image that is run before it is here.
func TestLazyPull(t *testing.T) {
	reg, s := newLazyRegistry(t), newLazyStore(t)
	name := reg.name()
	if out := s.tiffin("pull", "--lazy", name); !strings.Contains(out, "can be run") {
		t.Errorf("pull said %s", out)
	}
	if out := s.tiffin("run", "--rm", name, "sh", "-c", "echo dinner; head -c 5 /noise | wc -c"); out != "dinner\n5\n" {
		t.Errorf("the container printed %q", out)
	}
	got, all := reg.ranged.Load(), int64(len(reg.blobs[reg.layer]))
	if got == 0 || got > all/2 || reg.whole.Load() > 0 {
		t.Errorf("%d of %d bytes were sent, and %d of whole layers", got, all, reg.whole.Load())
	}
	if out := s.tiffin("images"); !strings.Contains(out, "PULLED") || !strings.Contains(out, "0B of ") {
		t.Errorf("images says\n%s", out)
	}
	s.tiffin("run", "-d", "--name", "box", name, "sh", "-c", "echo new > /made; while :; do sleep 1; done")
	for _, args := range [][]string{{"save", "-o", os.DevNull, name}, {"push", name}, {"commit", "box"},
		{"bundle", name, filepath.Join(t.TempDir(), "b")}, {"diff", name + "@0"}, {"run", "--rm", "--driver", "copy", name, "true"}} {
		s.refused("is still being pulled", args...)
	}
	answersLazily(t, s, name)
	s.tiffin("rmi", "other")
	s.refused("in use", "rmi", name)
	s.tiffin("tag", name, "other")
	if out := s.tiffin("diff", "box"); out != "A /made\n" {
		t.Errorf("diff says %q", out)
	}
	s.tiffin("exec", "box", "sh", "-c", "mv /noise /moved; chmod 600 /moved") // remembers the inode it was
	close(reg.hold)
	s.pulled()
	want := fmt.Sprintf("%x  ", sha256.Sum256(reg.noise))
	sum := func() {
		t.Helper()
		if out := s.tiffin("exec", "box", "sha256sum", "/moved"); !strings.HasPrefix(out, want) {
			t.Errorf("the file has sum %s", out)
		}
	}
	sum()
	s.tiffin("restart", "-t", "0", "box")
	sum()
	// From now on it is as if it had been pulled at once.
	other := newLazyStore(t)
	other.tiffin("pull", name)
	for _, dir := range []string{s.root, other.root} {
		for d := range reg.blobs {
			if hex, ok := strings.CutPrefix(d, "sha256:"); ok {
				if b, err := os.ReadFile(filepath.Join(dir, "blobs/sha256", hex)); err != nil || digest.FromBytes(b).String() != d {
					t.Errorf("%s: blob %s: %v", dir, d, err)
				}
			}
		}
	}
	s.tiffin("rmi", "other")
	for _, args := range [][]string{{"images", "--digests", "--no-trunc"}, {"layers", name}, {"history", name}, {"why", name, "/noise"},
		{"inspect", "-f", "{{json .Config}} {{.RepoTags}} {{.RepoDigests}} {{json .Descriptor}} {{.Size}} {{.Pulled}}", name}} {
		if a, b := s.tiffin(args...), other.tiffin(args...); a != b {
			t.Errorf("%q differ:\n%s\n%s", args, a, b)
		}
	}
	s.tiffin("commit", "box", "lunch")
	if out := s.tiffin("pull", "--lazy", name); !strings.Contains(out, "up to date") {
		t.Errorf("the second pull said %s", out)
	}
	for _, left := range []string{"lazy", "partial"} {
		if _, err := os.Stat(filepath.Join(s.root, left)); err == nil {
			t.Errorf("%s is left", left)
		}
	}
}

// answersLazily: what manifest, config and tables of contents tell is told at once, while the
// registry sends no layer.
func answersLazily(t *testing.T, s *lazyStore, name string) {
	t.Helper()
	for _, c := range []struct {
		want string
		args []string
	}{
		{"", []string{"tag", name, "other"}},
		{"sha256:", []string{"history", "-q", "--no-trunc", "other"}},
		{" other:latest] 1\n", []string{"inspect", "-f", "{{.RepoTags}} {{len .Layers}}{{range .Layers}}{{.Blob}}{{end}}", "other"}},
		{"0 of ", []string{"inspect", "-f", "{{.Pulled.Size}} of {{.Pulled.Total}}", name}},
		{"LAYER", []string{"layers", "other"}},
		{"has it: this is what you see", []string{"why", "other", "/noise"}},
		{"has nothing there", []string{"why", "--type", "image", "other", "/absent"}},
		{"other", []string{"images", "--format", "{{.Repository}}", "other"}},
		{"", []string{"images", "--filter", "since=other"}},
	} {
		out, err := s.try(c.args...)
		absent := c.args[len(c.args)-1] == "/absent" // its status is 1
		if !strings.Contains(out, c.want) || absent != (err != nil) {
			t.Errorf("%q: %v instead of %q\n%s", c.args, err, c.want, out)
		}
	}
	if out := s.tiffin("run", "--rm", "other", "echo", "dinner"); out != "dinner\n" {
		t.Errorf("the other name printed %q", out)
	}
}

// TestLazyPullOfOtherBytes: who reads them gets an error, and nothing of them is kept.
func TestLazyPullOfOtherBytes(t *testing.T) {
	reg, s := newLazyRegistry(t), newLazyStore(t)
	s.tiffin("pull", "--lazy", reg.name())
	s.tiffin("run", "-d", "--name", "box", reg.name(), "sh", "-c", "while :; do sleep 1; done")
	s.tiffin("exec", "box", "wc", "/etc/passwd")
	reg.spoil.Store(true)
	before := disk512(t, s)
	s.refused("rror", "exec", "box", "wc", "/noise")
	if after := disk512(t, s); after != before {
		t.Errorf("the sparse tarball had %d blocks, and has %d", before, after)
	}
	if out := s.tiffin("inspect", "-f", "{{.State.Error}}", "box"); !strings.Contains(out, "not what its table of contents says") {
		t.Errorf("the container says %s", out)
	}
	for _, args := range [][]string{{"exec", "box", "/noise"}, {"run", "--rm", reg.name(), "/noise"}} {
		s.refused("error: read a file of container", args...)
	}
	reg.spoil.Store(false)
	if out := s.tiffin("exec", "box", "sha256sum", "/noise"); !strings.HasPrefix(out, fmt.Sprintf("%x", sha256.Sum256(reg.noise))) {
		t.Errorf("the file has sum %s", out)
	}
}

// disk512 is how many blocks of 512 bytes the sparse tarball has.
func disk512(t *testing.T, s *lazyStore) int64 {
	t.Helper()
	flats, _ := filepath.Glob(filepath.Join(s.root, "lazy/*/*/flat.tar"))
	var st syscall.Stat_t
	if len(flats) != 1 || syscall.Stat(flats[0], &st) != nil {
		t.Fatalf("sparse tarballs: %q", flats)
	}
	return st.Blocks
}

// TestLazyPullIsCutOff: a connection ends in the middle, and the program that fetches is killed.
// Who reads waits, and goes on: the client starts that program again.
func TestLazyPullIsCutOff(t *testing.T) {
	reg, s := newLazyRegistry(t), newLazyStore(t)
	s.tiffin("pull", "--lazy", reg.name())
	s.tiffin("run", "-d", "--name", "box", reg.name(), "sh", "-c", "while :; do sleep 1; done")
	s.tiffin("exec", "box", "wc", "/etc/passwd")
	s.tiffin("exec", "box", "sha256sum", "/bin/sh")
	reg.cut.Store(true)
	var out bytes.Buffer
	reader := s.command("exec", "box", "sha256sum", "/noise")
	reader.Stdout, reader.Stderr = &out, &out
	if err := reader.Start(); err != nil {
		t.Fatal(err)
	}
	killed := false
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && !killed; time.Sleep(20 * time.Millisecond) {
		for _, pid := range s.fetchers() {
			killed = syscall.Kill(pid, syscall.SIGKILL) == nil
		}
	}
	if !killed {
		t.Fatal("nothing fetches")
	}
	reg.cut.Store(false)
	ranged := reg.ranged.Load()
	if err := reader.Wait(); err != nil || !strings.HasPrefix(out.String(), fmt.Sprintf("%x", sha256.Sum256(reg.noise))) {
		t.Fatalf("%v, %s", err, &out)
	}
	if n := reg.ranged.Load() - ranged; n > int64(len(reg.noise))*11/10 {
		t.Errorf("%d bytes were sent again", n)
	}
	for _, pid := range s.fetchers() {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	s.eventually("nothing fetches", func() bool { return len(s.fetchers()) == 0 })
	if s.tiffin("exec", "box", "true"); len(s.fetchers()) == 0 {
		t.Error("exec has not started it again")
	}
	close(reg.hold)
	s.pulled()
	s.tiffin("save", "-o", os.DevNull, reg.name())
}

// TestLazyReadersEnd: whoever waits for a registry that sends nothing ends when he is killed, and
// the container with him. What waits for nobody goes on meanwhile.
func TestLazyReadersEnd(t *testing.T) {
	reg, s := newLazyRegistry(t), newLazyStore(t)
	s.tiffin("pull", "--lazy", reg.name())
	s.tiffin("run", "-d", "--name", "box", reg.name(), "sh", "-c", "trap : CHLD; while :; do sleep 1; done")
	s.tiffin("exec", "box", "sh", "-c", "cat /etc/passwd; chmod 600 /noise") // all of the shell is here; the file has an upper one
	never := make(chan struct{})
	reg.stall.Store(&never)
	// A part of a page is written: the kernel asks for the rest of it, and the thread waits for the
	// answer, whatever signal it gets.
	write := func(seek string) {
		t.Helper()
		before := reg.stalled.Load()
		s.tiffin("exec", "-d", "box", "dd", "if=/etc/passwd", "of=/noise", "bs=3", "seek="+seek, "count=1", "conv=notrunc")
		s.eventually("dd waits", func() bool { return reg.stalled.Load() > before })
	}
	write("3000000")
	goesOn := func(args ...string) {
		t.Helper()
		if s.tiffin(append([]string{"exec", "box"}, args...)...); s.process("dd") == 0 {
			t.Error("others have waited for dd")
		}
	}
	goesOn("mkdir", "/one")
	s.tiffin("exec", "-d", "box", "cat", "/noise")
	s.eventually("cat waits", func() bool { return s.waits("cat") })
	writer, reader := s.process("dd"), s.process("cat")
	if writer == 0 || reader == 0 {
		t.Fatalf("the numbers are %d and %d", writer, reader)
	}
	if err := syscall.Kill(writer, syscall.SIGUSR1); err != nil { // it has no handler for it
		t.Error(err)
	}
	s.eventually("dd has ended", func() bool { return syscall.Kill(writer, 0) != nil })
	if err := syscall.Kill(reader, 0); err != nil {
		t.Errorf("cat has ended, too: %v", err)
	}
	write("4500000")
	s.tiffin("stop", "-t", "0", "box")
	if out := s.tiffin("inspect", "-f", "{{.State.ExitCode}} {{.State.Error}}", "box"); out != "137 \n" {
		t.Errorf("the container ended with %s", out)
	}
	s.tiffin("start", "box")
	s.tiffin("exec", "-d", "box", "cat", "/noise")
	s.eventually("cat waits", func() bool { return s.waits("cat") })
	s.tiffin("rm", "-f", "box")
	// All of the file is copied, for a page that is written.
	s.tiffin("run", "-d", "--name", "box", reg.name(), "sh", "-c", "while :; do sleep 1; done")
	s.tiffin("exec", "-d", "box", "dd", "if=/bin/sh", "of=/noise", "bs=4096", "seek=2000", "count=1", "conv=notrunc")
	s.eventually("dd waits", func() bool { return s.waits("dd") })
	goesOn("mkdir", "/one")
	goesOn("ls", "-l", "/noise")
	close(never)
	s.eventually("dd has ended", func() bool { return s.process("dd") == 0 })
	s.tiffin("rm", "-f", "box")
}

// process is the number of a process of the container, or 0.
func (s *lazyStore) process(name string) int {
	s.t.Helper()
	for line := range strings.Lines(s.tiffin("top", "box", "-o", "pid,comm")) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == name {
			pid, _ := strconv.Atoi(f[0])
			return pid
		}
	}
	return 0
}

// waits tells whether a thread of that process waits for a disk, as it were. It need not be the
// first, whose state top shows: Go reads in any. proc(5).
func (s *lazyStore) waits(name string) bool {
	s.t.Helper()
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.process(name)))
	return slices.ContainsFunc(threads, func(stat string) bool {
		b, _ := os.ReadFile(stat)
		return bytes.Contains(b, []byte("("+name+") D "))
	})
}

// eventually waits for something, less long than a read waits for its registry.
func (s *lazyStore) eventually(what string, is func() bool) {
	s.t.Helper()
	for end := time.Now().Add(50 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("it is not so that %s", what)
		}
	}
}

// TestLazyPullOfALie: a table that has its digest and is not that of the tarball ends the pull.
func TestLazyPullOfALie(t *testing.T) {
	reg, s := newLazyRegistry(t), newLazyStore(t)
	blob, diffID, table := lie(t, reg)
	reg.image(t, blob, diffID, table)
	s.tiffin("pull", "--lazy", reg.name())
	if out := s.tiffin("run", "--rm", reg.name(), "echo", "dinner"); out != "dinner\n" {
		t.Errorf("it printed %s", out)
	}
	close(reg.hold)
	for end := time.Now().Add(time.Minute); len(s.fetchers()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is still fetched")
		}
	}
	s.refused("its table of contents is not that of its tarball", "run", "--rm", reg.name(), "true")
	if b, err := os.ReadFile(filepath.Join(s.root, "index.json")); err != nil || bytes.Contains(b, []byte("lab:1")) {
		t.Errorf("the image is in the store: %s, %v", b, err)
	}
	// As its layers are.
	if out := s.tiffin("pull", "--lazy", reg.name()); !strings.Contains(out, "not that of its tarball: \"/noise\" is not the same: so all of the image is fetched first") {
		t.Errorf("pull said %s", out)
	}
	s.tiffin("run", "--rm", reg.name(), "true")
}

// TestLazyPullOfAnOrdinaryImage fetches it as a whole, and says why.
func TestLazyPullOfAnOrdinaryImage(t *testing.T) {
	reg, s := newLazyRegistry(t), newLazyStore(t)
	blob := reg.blobs[reg.layer]
	var c ocispec.Image
	for _, b := range reg.blobs {
		if json.Unmarshal(b, &c) == nil && len(c.RootFS.DiffIDs) > 0 {
			break
		}
	}
	close(reg.hold)
	for _, annotation := range []string{"", digest.FromString("another").String()} {
		reg.image(t, blob, c.RootFS.DiffIDs[0], annotation)
		out := s.tiffin("pull", "--lazy", reg.name())
		if !strings.Contains(out, "so all of the image is fetched first") || annotation != "" && !strings.Contains(out, "has digest") {
			t.Errorf("pull said %s", out)
		}
		s.tiffin("run", "--rm", reg.name(), "true")
		s.tiffin("rmi", reg.name())
	}
}

// TestLazyPullOfWhatPushMakes: an image that `push --estargz` has sent to `serve`.
func TestLazyPullOfWhatPushMakes(t *testing.T) {
	reg, s := serve(t, "--addr", "127.0.0.1:0"), newLazyStore(t)
	name := strings.TrimPrefix(reg.url, "http://") + "/lab:2"
	for _, args := range [][]string{{"tag", "tiffin/base", name}, {"push", "--estargz", name}} {
		cmd := exec.Command(binary, args...)
		cmd.Env = reg.env("other")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	if out := s.tiffin("pull", "--lazy", name); !strings.Contains(out, "can be run") {
		t.Errorf("pull said %s", out)
	}
	if out := s.tiffin("run", "--rm", name, "echo", "dinner"); out != "dinner\n" {
		t.Errorf("it printed %s", out)
	}
	s.pulled()
	s.tiffin("save", "-o", os.DevNull, name)
}

// TestLazyPullOntoAFullDisk says what to do, wherever the disk ends.
func TestLazyPullOntoAFullDisk(t *testing.T) {
	reg, s := newLazyRegistry(t), newLazyStore(t)
	if err := os.Mkdir(s.root, 0o700); err != nil {
		t.Fatal(err)
	}
	full := 0
	for kib, done := 16, false; !done; kib += 16 {
		pull := s.command()
		script := fmt.Sprintf("mount -t tmpfs -o size=%dk,mode=700 none %s || exit 99; %s pull --lazy %s; s=$?; ls %[2]s/tmp; exit $s", kib, s.root, binary, reg.name())
		out, err := (&exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: pull.Env, SysProcAttr: &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}}).CombinedOutput()
		var exit *exec.ExitError
		switch {
		case err == nil:
			done = true
		case !errors.As(err, &exit) || exit.ExitCode() == 99:
			must.Skip(t, "userns", "%v: %s", err, out)
		case kib > 1024 || !bytes.Contains(out, []byte("no space left on device\nhint: free some space")) || bytes.Contains(out, []byte("\nadd-")):
			t.Fatalf("with %d KiB:\n%s", kib, out)
		default:
			full++
		}
	}
	if full == 0 {
		t.Error("it fits into nothing")
	}
}
