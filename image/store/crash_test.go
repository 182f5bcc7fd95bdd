package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/transfer"
	"tiffin/internal/test/imagetest"
	"tiffin/internal/test/must"
	"tiffin/internal/test/reexec"
	"tiffin/internal/test/tartest"
)

// parts are what is killed, or runs where nothing else is to suffer.
var parts = reexec.Parts{
	"load": reexec.Fails(func(args []string) error {
		s, err := image.Open(args[0])
		if err == nil {
			_, err = transfer.Load(context.Background(), s, args[1], nil, nil)
		}
		return err
	}),
	"shuffle": reexec.Fails(func(args []string) error { return shuffle(args[0], args[1], args[2:]) }),
	"full":    reexec.Fails(func(args []string) error { return fullDisk(args[0], args[1:]) }),
}

// wide is an image whose load takes long enough to be killed in the middle.
func wide(t testing.TB) string {
	var tars [][]byte
	rnd := rand.New(rand.NewPCG(1, 2))
	for l := range 3 {
		data := make([]byte, 3<<20)
		for i := range data {
			data[i] = byte(rnd.IntN(40))
		}
		tars = append(tars, tartest.Of(t, tartest.File(fmt.Sprintf("file%d", l), string(data))))
	}
	f := imagetest.New(t, imagetest.Gzip, []string{"wide"}, tars...)
	return imagetest.InFile(t, imagetest.Archive(t, f.Layout(t)))
}

func TestAKilledLoadLeavesAStoreThatWorks(t *testing.T) {
	s, _, _ := imagetest.StoreWith(t, imagetest.Gzip, "old")
	before := imagetest.Listing(t, s)
	name := wide(t)
	start := time.Now()
	if out, err := reexec.Command("load", s.Root(), name).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole := time.Since(start)
	if _, err := s.Remove("wide", false); err != nil {
		t.Fatal(err)
	}
	if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
		t.Fatalf("rmi does not undo load:\n%q\n%q", before, after)
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	killed := 0
	for range 25 {
		cmd := reexec.Command("load", s.Root(), name)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rnd.Int64N(int64(whole + whole/4))))
		cmd.Process.Kill()
		if cmd.Wait() != nil {
			killed++
		}
		again, err := image.Open(s.Root()) // the next command
		if err != nil {
			t.Fatal(err)
		}
		if _, err := again.Remove("wide", false); err != nil && !errors.Is(err, image.ErrNotFound) {
			t.Fatal(err)
		}
		if after := imagetest.Listing(t, s); !slices.Equal(before, after) {
			t.Fatalf("before %q\nafter %q", before, after)
		}
	}
	t.Logf("%d of 25 were killed before they were done", killed)
	imagetest.Sound(t, s)
}

// shuffle does random things with two archives.
func shuffle(root, seed string, archives []string) error {
	n, err := strconv.ParseUint(seed, 10, 64)
	if err != nil {
		return err
	}
	rnd := rand.New(rand.NewPCG(n, n))
	for range 25 {
		s, err := image.Open(root)
		if err != nil {
			return err
		}
		switch rnd.IntN(6) {
		case 0, 1:
			_, err = transfer.Load(context.Background(), s, archives[rnd.IntN(len(archives))], nil, nil)
		case 2:
			err = s.Tag("one", fmt.Sprintf("tag:%d", rnd.IntN(3)))
		case 3:
			_, err = s.Remove([]string{"one", "two", "tag:0", "tag:1", "tag:2"}[rnd.IntN(5)], rnd.IntN(2) == 0)
		case 4:
			_, err = s.Prune(rnd.IntN(4) == 0, nil)
		case 5:
			img, rerr := s.Resolve("two")
			if err = rerr; err == nil {
				// It may be removed at any moment; it must not be broken.
				if _, err = s.Mountable(img); errors.Is(err, oci.ErrDamaged) && strings.Contains(err.Error(), "missing") {
					err = nil
				}
			}
		}
		if err != nil && !errors.Is(err, image.ErrNotFound) && !strings.Contains(err.Error(), "names:") && !vanished(err) {
			return err
		}
	}
	return nil
}

// vanished recognises that an image was removed by another process between
// being found and being read.
func vanished(err error) bool {
	return errors.Is(err, oci.ErrDamaged) && strings.Contains(err.Error(), "missing")
}

func TestManyProcessesMayChangeTheStoreAtOnce(t *testing.T) {
	s := imagetest.NewStore(t)
	shared := imagetest.LayerTar(t, "shared")
	one := imagetest.New(t, imagetest.Gzip, []string{"one"}, shared, imagetest.LayerTar(t, "one"))
	two := imagetest.New(t, imagetest.AsIs, []string{"two"}, shared, imagetest.LayerTar(t, "two"))
	names := []string{imagetest.InFile(t, imagetest.Archive(t, one.Layout(t))), imagetest.InFile(t, imagetest.Archive(t, two.Docker(t)))}
	var cmds []*exec.Cmd
	for seed := range 4 {
		cmd := reexec.Command("shuffle", append([]string{s.Root(), strconv.Itoa(seed)}, names...)...)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	for _, c := range cmds {
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Prune(false, nil); err != nil {
		t.Error(err)
	}
	imagetest.Sound(t, s)
}

// fullDisk runs in a user and mount namespace of its own: it mounts a small
// tmpfs and tries what does not fit.
func fullDisk(dir string, archives []string) error {
	small, large := archives[0], archives[1]
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=6m,mode=700"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	s, err := image.Open(filepath.Join(dir, "store"))
	if err != nil {
		return err
	}
	if _, err := transfer.Load(context.Background(), s, small, nil, nil); err != nil {
		return fmt.Errorf("an image that fits: %w", err)
	}
	list := func() string {
		out, _ := exec.Command("find", s.Root(), "-printf", "%p %s\n").Output()
		return string(out)
	}
	before := list()
	for range 3 {
		_, err := transfer.Load(context.Background(), s, large, nil, nil)
		if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "no space left on device") {
			return fmt.Errorf("an image that does not fit: %v", err)
		}
		if after := list(); after != before {
			return fmt.Errorf("before\n%s\nafter\n%s", before, after)
		}
	}
	img, err := s.Resolve("small")
	if err != nil {
		return err
	}
	if _, err = s.Mountable(img); err != nil {
		return err
	}
	// The way out of a full disk is to delete something, which takes an index.
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		return err
	}
	for page := make([]byte, os.Getpagesize()); err == nil; {
		_, err = ballast.Write(page)
	}
	if !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill the disk: %w", err)
	}
	done, err := s.Remove("small", false)
	if err != nil || len(done) == 0 {
		return fmt.Errorf("delete an image on a full disk: %v, %v", done, err)
	}
	if left, err := s.List(); err != nil || len(left) > 0 {
		return fmt.Errorf("after deleting it: %v, %v", left, err)
	}
	return nil
}

func TestAFullDiskIsOneClearErrorAndLosesNothing(t *testing.T) {
	small := imagetest.New(t, imagetest.Gzip, []string{"small"}, imagetest.LayerTar(t, "small"))
	cmd := reexec.Command("full", t.TempDir(), imagetest.InFile(t, imagetest.Archive(t, small.Layout(t))), wide(t))
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) || strings.Contains(string(out), "mount: ") {
		must.Skip(t, "userns", "there is no user namespace: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestLeftoversOfADeadCommandGoAndThoseOfALivingOneStay(t *testing.T) {
	s := imagetest.NewStore(t)
	st, err := s.Stage()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(s.Path("tmp", "add-dead", "blobs"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := image.Open(s.Root()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Path("tmp", "add-dead")); !os.IsNotExist(err) {
		t.Errorf("the dead command's directory is still there: %v", err)
	}
	if _, err := os.Stat(st.Path("blobs")); err != nil {
		t.Errorf("the living command's directory is gone: %v", err)
	}
	st.Close()
	imagetest.Sound(t, s)
}
