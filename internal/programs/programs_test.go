package programs

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// script is a program that says something.
func script(says string) Program {
	data := "#!/bin/sh\necho " + says + "\n"
	sum := sha256.Sum256([]byte(data))
	return Program{Name: "script", Digest: hex.EncodeToString(sum[:]), Size: int64(len(data)), data: data}
}

// open opens p, checks what is in it, and that nobody can change it, and returns where it is.
func open(t *testing.T, p Program, root string) string {
	t.Helper()
	f, err := p.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	text := make([]byte, p.Size+1)
	if n, _ := f.ReadAt(text, 0); string(text[:n]) != p.data {
		t.Errorf("it has %q, not %q", text[:n], p.data)
	}
	if _, err := f.WriteAt([]byte("x"), 0); err == nil {
		t.Error("it can be written")
	}
	where, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(f.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(where, root) {
		// A script is read by its name; the descriptor of a binary is enough.
		if out, err := exec.Command(where).Output(); err != nil || !strings.Contains(p.data, strings.TrimSpace(string(out))) {
			t.Errorf("executed it says %q, %v", out, err)
		}
		return where
	}
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	if has, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0); err != nil || has&seals != seals {
		t.Errorf("%s is neither in the store nor sealed: %x, %v", where, has, err)
	}
	return "memory"
}

func TestProgramIsLaidOutOnce(t *testing.T) {
	root, p := t.TempDir(), script("one")
	where := open(t, p, root)
	if where != filepath.Join(root, "programs", p.Digest) {
		t.Errorf("it is at %s", where)
	}
	var first, again unix.Stat_t
	if err := errors.Join(unix.Stat(where, &first), func() error { open(t, p, root); return nil }(), unix.Stat(where, &again)); err != nil {
		t.Fatal(err)
	}
	if first.Ino != again.Ino || first.Ctim != again.Ctim {
		t.Error("it was written again")
	}
	if first.Mode != unix.S_IFREG|0o500 {
		t.Errorf("its mode is %o", first.Mode)
	}
}

func TestVersionsShareAStore(t *testing.T) {
	root := t.TempDir()
	var all sync.WaitGroup
	for range 4 {
		for _, says := range []string{"one", "two"} {
			all.Go(func() {
				f, err := script(says).Open(root)
				if err != nil {
					t.Error(err)
					return
				}
				f.Close()
			})
		}
	}
	all.Wait()
	if open(t, script("one"), root) == open(t, script("two"), root) {
		t.Error("they have the same file")
	}
	if left, _ := filepath.Glob(filepath.Join(root, "programs", "new-*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

// TestProgramCanBeExecutedAtOnce: also if other goroutines start processes while it is written.
func TestProgramCanBeExecutedAtOnce(t *testing.T) {
	ended := make(chan struct{})
	var others sync.WaitGroup
	defer others.Wait()
	defer close(ended)
	for range 4 {
		others.Go(func() {
			for {
				select {
				case <-ended:
					return
				default:
					_ = exec.Command("true").Run()
				}
			}
		})
	}
	for range 100 {
		open(t, script("one"), t.TempDir())
	}
}

// TestChangedProgramIsReplaced: whatever looks different from what was written is not executed.
func TestChangedProgramIsReplaced(t *testing.T) {
	evil := "#!/bin/sh\necho bad\n"
	for name, change := range map[string]func(file string) error{
		"cut off": func(file string) error { return os.Truncate(file, 5) },
		"written": func(file string) error { return os.WriteFile(file, []byte(evil), 0) },
		"mode":    func(file string) error { return os.Chmod(file, 0o700) },
		"a link": func(file string) error {
			other := filepath.Join(filepath.Dir(file), "evil")
			return errors.Join(os.WriteFile(other, []byte(evil), 0o500), os.Remove(file), os.Symlink(other, file))
		},
		"a fifo": func(file string) error { return errors.Join(os.Remove(file), unix.Mkfifo(file, 0o500)) },
	} {
		t.Run(name, func(t *testing.T) {
			root, p := t.TempDir(), script("one")
			file := open(t, p, root)
			if err := os.Chmod(file, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := change(file); err != nil {
				t.Fatal(err)
			}
			if name != "mode" {
				_ = unix.Fchmodat(unix.AT_FDCWD, file, 0o500, 0)
			}
			if open(t, p, root) != file {
				t.Error("it was not replaced")
			}
		})
	}
}

// TestWithoutAPlaceTheProgramIsInMemory: sealed, so that it cannot be changed there either.
func TestWithoutAPlaceTheProgramIsInMemory(t *testing.T) {
	for name, make := range map[string]func(root string) error{
		"no store":        func(root string) error { return errors.Join(os.Remove(root), os.WriteFile(root, nil, 0o600)) },
		"not a directory": func(root string) error { return os.WriteFile(filepath.Join(root, "programs"), nil, 0o600) },
		"open to others": func(root string) error {
			dir := filepath.Join(root, "programs")
			return errors.Join(os.Mkdir(dir, 0o700), os.Chmod(dir, 0o777))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := filepath.Join(t.TempDir(), "store")
			if err := errors.Join(os.Mkdir(root, 0o700), make(root)); err != nil {
				t.Fatal(err)
			}
			if where := open(t, script("one"), root); where != "memory" {
				t.Errorf("it is at %s", where)
			}
		})
	}
}

func TestDamagedProgramIsRefused(t *testing.T) {
	root, p := t.TempDir(), script("one")
	p.data = strings.Replace(p.data, "one", "two", 1)
	if _, err := p.Open(root); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("error %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(root, "programs", "*")); len(files) > 0 {
		t.Errorf("it was written: %v", files)
	}
}

func TestCleanLeavesWhatThisTiffinNeeds(t *testing.T) {
	root, p := t.TempDir(), script("one")
	file := open(t, p, root)
	freed, err := Clean(root)
	if err != nil || freed != p.Size {
		t.Errorf("freed %d bytes, %v", freed, err)
	}
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		t.Error("the program of another version is still there")
	}
}

func TestMissingProgramSaysHowToGetIt(t *testing.T) {
	_, err := Find("no such")
	if !errors.Is(err, ErrNotEmbedded) || !strings.Contains(errs.HintOf(err), "scripts/setup") {
		t.Errorf("%v, hint %q", err, errs.HintOf(err))
	}
}
