package disk

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
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
		if ValidName(bad) {
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
