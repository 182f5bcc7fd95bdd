package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func newSet(t *testing.T) *Set {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "containers"), 0o700); err != nil {
		t.Fatal(err)
	}
	return In(root)
}

func create(t *testing.T, s *Set, name string) *Container {
	t.Helper()
	c, lock, err := s.Create(Config{Name: name})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := c.Commission(nil); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestContainersAreFoundByNameIDAndBeginning(t *testing.T) {
	s := newSet(t)
	a, b := create(t, s, "first"), create(t, s, "")
	for ref, want := range map[string]*Container{"first": a, a.ID: a, a.Short(): a, b.Name: b, b.ID[:20]: b} {
		if c, err := s.Find(ref); err != nil || c.ID != want.ID {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, ref := range []string{"", "nosuch", "..", "../containers/first", "first/", strings.Repeat("0", 64), "/", "a/b"} {
		if _, err := s.Find(ref); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if all, err := s.All(); err != nil || len(all) != 2 || all[0].ID != b.ID {
		t.Errorf("%v %v: want the newest first", all, err)
	}
}

func TestANameIsGivenOnce(t *testing.T) {
	s := newSet(t)
	a := create(t, s, "box")
	if _, _, err := s.Create(Config{Name: "box"}); !errors.Is(err, errNameTaken) {
		t.Fatalf("second box: %v", err)
	}
	if err := a.Erase(nil); err != nil {
		t.Fatal(err)
	}
	b := create(t, s, "box")
	// What a killed command left: the container is gone but for its link.
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	create(t, s, "box")
	for _, bad := range []string{"a", "-x", "a b", "a/b", "..", "ä", strings.Repeat("0", 64), strings.Repeat("x", 129)} {
		if validName(bad) {
			t.Errorf("%q is said to be valid", bad)
		}
	}
}

func TestIncompleteContainersDoNotShowAndAreSwept(t *testing.T) {
	s := newSet(t)
	c, lock, err := s.Create(Config{Name: "half"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find("half"); !errors.Is(err, ErrNotFound) {
		t.Errorf("found before it is complete: %v", err)
	}
	if uses, err := s.Uses(); err != nil || len(uses) != 1 {
		t.Errorf("its image is not protected: %v %v", uses, err)
	}
	s.Sweep(nil)
	if _, err := os.Stat(c.dir); err != nil {
		t.Fatal("swept while its creator lives")
	}
	lock.Close()
	s.Sweep(nil)
	if ents, _ := os.ReadDir(s.dir); len(ents) != 0 {
		t.Errorf("left: %v", ents)
	}
}

func TestAContainerWithoutSupervisorIsShownAsKilled(t *testing.T) {
	s := newSet(t)
	c := create(t, s, "orphan")
	if err := c.WriteState(State{Status: Running, Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if st, err := c.State(); err != nil || st.Status != Exited || st.ExitCode != 137 || st.Finished.IsZero() {
		t.Errorf("%+v %v", st, err)
	}
	lock, err := c.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if st, err := c.State(); err != nil || st.Status != Running {
		t.Errorf("with its lock held: %+v %v", st, err)
	}
	if again, err := c.LockNow(); !errors.Is(err, ErrLocked) {
		t.Errorf("locked twice: %v, %v", again, err)
	}
	lock.Close()
	c.AutoRemove = true
	if err := ReplaceJSON(c.Path("config.json"), c.Config); err != nil {
		t.Fatal(err)
	}
	s.Sweep(nil)
	if _, err := s.Find("orphan"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a dead container with --rm is not swept: %v", err)
	}
}

func TestDamagedContainersAreNamed(t *testing.T) {
	s := newSet(t)
	c := create(t, s, "bad")
	if err := os.WriteFile(c.Path("config.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	create(t, s, "good")
	all, err := s.All()
	if len(all) != 1 || err == nil || !strings.Contains(err.Error(), c.ID) {
		t.Errorf("%d, %v", len(all), err)
	}
}

func TestARecycledProcessNumberIsNotKilled(t *testing.T) {
	if StartTime(os.Getpid()) == 0 {
		t.Fatal("no start time of this process")
	}
	KillStale(os.Getpid(), StartTime(os.Getpid())+1) // would end the test
}

func TestMergeEnvReplacesInPlace(t *testing.T) {
	got := strings.Join(MergeEnv([]string{"A=1", "B=2"}, []string{"C=3", "A=4", "C=5"}), " ")
	if got != "A=4 B=2 C=5" {
		t.Error(got)
	}
}

// TestManyWantOneName: it is free, or that of a container that a killed command has left half
// removed, and only one of those who take it at once gets it.
func TestManyWantOneName(t *testing.T) {
	s := newSet(t)
	for _, stale := range []bool{false, true} {
		if stale {
			if err := os.Symlink(strings.Repeat("0", 64), filepath.Join(s.dir, "box")); err != nil {
				t.Fatal(err)
			}
		}
		var winners atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				c, lock, err := s.Create(Config{Name: "box"})
				if err == nil {
					winners.Add(1)
					defer lock.Close()
					if err := c.Commission(nil); err != nil {
						t.Error(err)
					}
				} else if !errors.Is(err, errNameTaken) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := winners.Load(); n != 1 {
			t.Fatalf("stale: %v: %d containers are called box", stale, n)
		}
		c, err := s.Find("box")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Erase(nil); err != nil {
			t.Fatal(err)
		}
		if ids, err := s.ids(); err != nil || len(ids) != 0 {
			t.Fatalf("of those that did not get it, %d are left: %v", len(ids), err)
		}
	}
}

func TestRenameKeepsOneNameAtLeast(t *testing.T) {
	s := newSet(t)
	a, b := create(t, s, "one"), create(t, s, "two")
	for name, want := range map[string]string{"two": "is the name of container", "one": "already", "-x": "not valid", a.ID: "not valid"} {
		if err := s.Rename(a, name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("renamed to %.10s: %v", name, err)
		}
		if c, err := s.Find("one"); err != nil || c.ID != a.ID || c.Name != "one" {
			t.Fatalf("after the attempt: %v", err)
		}
	}
	if c, err := s.Find("two"); err != nil || c.ID != b.ID {
		t.Errorf("its owner has lost the name: %v", err)
	}
	if err := s.Rename(a, "three"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Find("one"); !errors.Is(err, ErrNotFound) {
		t.Errorf("found by its old name: %v", err)
	}
	if c, err := s.Find("three"); err != nil || c.ID != a.ID || c.Name != "three" {
		t.Errorf("%+v, %v", c, err)
	}
	// A config.json that cannot be written: the directory has one that is in the way.
	if err := os.Mkdir(a.Path("config.json.new"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Rename(a, "four"); err == nil {
		t.Error("renamed without being written down")
	}
	if _, err := os.Lstat(filepath.Join(s.dir, "four")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a name that was not given is taken: %v", err)
	}
}

func TestABeginningOfTwoIDsNamesNeither(t *testing.T) {
	s := newSet(t)
	for range 17 { // two of them begin with the same digit
		create(t, s, "")
	}
	refused := 0
	for _, digit := range "0123456789abcdef" {
		c, err := s.Find(string(digit))
		switch {
		case err == nil && c.ID[0] != byte(digit):
			t.Errorf("%c: found %s", digit, c.ID)
		case err != nil && !errors.Is(err, ErrNotFound):
			refused++
			if !strings.Contains(err.Error(), "begins with") && !strings.Contains(err.Error(), "begin with") {
				t.Error(err)
			}
		}
	}
	if refused == 0 {
		t.Error("one of two was chosen")
	}
}

func TestAContainerVanishesAtOnce(t *testing.T) {
	s := newSet(t)
	tmp := filepath.Join(s.root, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		t.Fatal(err)
	}
	c := create(t, s, "box")
	if err := os.WriteFile(c.Path("upper/file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	other, err := Open(c.dir) // another command renames it while it runs
	if err == nil {
		err = s.Rename(other, "renamed")
	}
	if err != nil {
		t.Fatal(err)
	}
	rest := c.Vanish()
	if ents, _ := os.ReadDir(s.dir); len(ents) != 0 {
		t.Errorf("left: %v", ents)
	}
	if ents, _ := os.ReadDir(tmp); len(ents) != 1 {
		t.Errorf("not put aside: %v", ents)
	}
	rest()
	if ents, _ := os.ReadDir(tmp); len(ents) != 0 {
		t.Errorf("not deleted: %v", ents)
	}
	// Without a place to put it, or with files of other users, it is deleted where it is.
	for _, driver := range []string{"", DriverOverlay} {
		if driver == "" {
			if err := os.Remove(tmp); err != nil {
				t.Fatal(err)
			}
		}
		c := create(t, s, "again")
		c.Driver = driver
		c.Vanish()()
		if ents, _ := os.ReadDir(s.dir); len(ents) != 0 {
			t.Errorf("driver %q: left: %v", driver, ents)
		}
		if err := os.MkdirAll(tmp, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDeletedFilesThatNFSKeepsAreMovedAside: while its lock is open, a container's directory on NFS
// has a file that cannot be deleted. Here it is a directory that cannot be emptied.
func TestDeletedFilesThatNFSKeepsAreMovedAside(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root can delete everything")
	}
	for name, mayStay := range map[string]bool{".nfs00000000000029c900000002": true, "other": false} {
		s := newSet(t)
		c := create(t, s, "box")
		kept := c.Path(name)
		if err := os.MkdirAll(filepath.Join(kept, "sub"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(filepath.Join(s.root, "tmp"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(kept, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Chmod(kept, 0o700); os.Chmod(filepath.Join(c.aside(), name), 0o700) })
		err := c.Erase(nil)
		if _, gone := os.Stat(c.dir); (err == nil) != mayStay || errors.Is(gone, os.ErrNotExist) != mayStay {
			t.Errorf("%s: Erase: %v; the directory: %v", name, err, gone)
		}
	}
}

func TestFilesOfOtherUsersAreLeftToTheEraser(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may delete everything")
	}
	s := newSet(t)
	c := create(t, s, "box")
	closed := c.Path("upper/closed")
	if err := os.MkdirAll(filepath.Join(closed, "in"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(closed, 0); err != nil { // as good as another user's
		t.Fatal(err)
	}
	if err := c.Erase(nil); !errors.Is(err, os.ErrPermission) {
		t.Errorf("without an eraser: %v", err)
	}
	if _, err := s.Find("box"); !errors.Is(err, ErrNotFound) {
		t.Errorf("half of it still shows: %v", err)
	}
	// Whoever comes later does the rest, although there is no lock any more.
	long := time.Now().Add(-time.Hour)
	if err := os.Chtimes(c.Dir(), long, long); err != nil {
		t.Fatal(err)
	}
	asked := 0
	s.Sweep(func(c *Container) error {
		asked++
		if err := os.Chmod(closed, 0o700); err != nil {
			return err
		}
		return os.RemoveAll(c.Dir())
	})
	if _, err := os.Stat(c.Dir()); err == nil || asked != 1 {
		t.Errorf("%v, asked %d times", err, asked)
	}
	if err := c.Erase(func(*Container) error { asked++; return nil }); err != nil || asked != 1 {
		t.Errorf("asked for what is not there: %v", err)
	}
}

func TestAConfigThatIsAnotherContainersIsRefused(t *testing.T) {
	s := newSet(t)
	a, b := create(t, s, "aa"), create(t, s, "bb")
	text, err := os.ReadFile(a.Path("config.json"))
	if err == nil {
		err = os.WriteFile(b.Path("config.json"), text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(b.dir); err == nil || !strings.Contains(err.Error(), "config.json is that of") {
		t.Error(err)
	}
	if _, err := s.Uses(); err == nil {
		t.Error("it is not known which image it needs, and that is no error")
	}
}

// TestTransientContainerGoesWithItsMaker: a RUN of a build that was killed leaves nothing.
func TestTransientContainerGoesWithItsMaker(t *testing.T) {
	s := newSet(t)
	c, lock, err := s.Create(Config{Transient: true})
	if err != nil {
		t.Fatal(err)
	}
	hold, err := c.HoldTransient()
	if err == nil {
		err = c.WriteState(State{Status: Exited})
	}
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if s.Sweep(nil); !exists(c.Dir()) {
		t.Error("it goes while it is held")
	}
	hold.Close()
	if s.Sweep(nil); exists(c.Dir()) {
		t.Error("it stays when nobody holds it")
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
