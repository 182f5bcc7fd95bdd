package supervisor

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOneFillsAndTheOthersDoNotWaitForItsEnd: of those that find no tree at the same time, one
// fills it and keeps the lock, shared, as long as its container runs.
func TestOneFillsAndTheOthersDoNotWaitForItsEnd(t *testing.T) {
	wall := t.TempDir()
	open := func() *os.File {
		f, err := os.Open(wall)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	first := open() // has found none either, and not gone on yet
	if err := flock(first, unix.LOCK_SH); err != nil {
		t.Fatal(err)
	}
	root, ended := filepath.Join(wall, "root"), make(chan error)
	for range 4 {
		go func(lock *os.File) {
			there, err := shareOrFill(lock, root)
			if err == nil && !there {
				err = errors.Join(os.Mkdir(root, 0o700), flock(lock, unix.LOCK_SH)) // EEXIST: a second one fills
			}
			ended <- err
		}(open())
	}
	time.Sleep(50 * time.Millisecond) // for all to get as far
	if err := flock(first, unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Fatal("it waits for the lock of another that uses the tree")
		}
	}
}

// TestATreeThatIsHalfRemovedIsNotUsed: it has lost the name that says that it is complete.
func TestATreeThatIsHalfRemovedIsNotUsed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	stays := filepath.Join(dir, "root/a/stays")
	if err := os.MkdirAll(stays, 0o700); err != nil {
		t.Fatal(err)
	}
	// Removing fails there, unless root does it.
	if err := os.Chmod(filepath.Dir(stays), 0o500); err != nil {
		t.Fatal(err)
	}
	err := eraseTree(dir, io.Discard)
	if os.Geteuid() != 0 && err == nil {
		t.Error("a directory that nobody may change was removed")
	}
	if _, err := os.Lstat(filepath.Join(dir, "root")); err == nil {
		t.Error("what is left is called complete")
	}
	_ = os.Chmod(filepath.Join(dir, "new/a"), 0o700) // so that it can be removed
}

// TestManyEraseATree: to be late is no error, and what is made anew and used meanwhile stays.
func TestManyEraseATree(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tree")
	root := filepath.Join(dir, "root")
	done := make(chan struct{})
	var erasing sync.WaitGroup
	for range 4 {
		erasing.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := eraseTree(dir, io.Discard); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	defer erasing.Wait()
	defer close(done)
	for range 500 {
		_ = os.Mkdir(dir, 0o700)
		f, err := os.Open(dir)
		if err != nil {
			continue // it is removed already
		}
		err = flock(f, unix.LOCK_EX|unix.LOCK_NB)
		mine, _ := f.Stat()
		if now, e := os.Lstat(dir); err == nil && e == nil && os.SameFile(mine, now) {
			if err := os.MkdirAll(root, 0o700); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Millisecond)
			if _, err := os.Lstat(root); err != nil {
				t.Error(err)
			}
		}
		f.Close()
	}
}
