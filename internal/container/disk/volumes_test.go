package disk

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestVolumesAreMadeOnceAndRemovedWhenNobodyHasThem(t *testing.T) {
	s := newSet(t)
	if v, err := s.CreateVolume("data", map[string]string{"a": "b"}); err != nil || v.Anonymous {
		t.Fatal(v, err)
	}
	if err := os.WriteFile(filepath.Join(s.VolumeData("data"), "kept"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	c, lock, err := s.Create(Config{Name: "box", Volumes: []Volume{{Name: "data", Target: "/d"}, {Name: "more", Target: "/m"}, {Anonymous: true, Target: "/a"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	// Its maker may be killed now, and counts on them until then.
	for _, v := range c.Volumes {
		if err := s.RemoveVolume(v.Name, nil); !errors.Is(err, ErrVolumeUsed) {
			t.Errorf("%s: %v", v.Target, err)
		}
	}
	if again, err := Open(c.Dir()); err != nil || again.Volumes[0].Source != s.VolumeData("data") || !validID(again.Volumes[2].Name) {
		t.Errorf("%+v %v", again, err)
	}
	if v, err := s.Volume("data"); err != nil || v.Labels["a"] != "b" {
		t.Errorf("%+v %v", v, err)
	}
	if err := c.Erase(nil); err != nil {
		t.Fatal(err)
	}
	c.Abandon(s, nil)()
	all, err := s.Volumes()
	if err != nil || len(all) != 2 || all[0].Name != "data" || all[1].Name != "more" {
		t.Fatalf("%+v %v: want those with a name", all, err)
	}
	for _, name := range []string{"data", "more"} {
		if err := s.RemoveVolume(name, nil); err != nil {
			t.Error(err)
		}
	}
	if ents, _ := os.ReadDir(s.VolumesDir()); len(ents) > 0 {
		t.Errorf("%v is left", ents)
	}
}

func TestNamesOfVolumesLeadNowhere(t *testing.T) {
	s := newSet(t)
	victim := filepath.Join(s.root, "victim")
	if err := os.Mkdir(victim, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"..", ".", "../victim", "a/b", "x", "-x", ".new-1", "a b", strings.Repeat("n", 129), strings.Repeat("0", 64), "a\xff"} {
		if v, err := s.CreateVolume(name, nil); err == nil {
			t.Errorf("%q: %+v", name, v)
		}
		if _, _, err := s.Create(Config{Volumes: []Volume{{Name: name, Target: "/x"}}}); err == nil {
			t.Errorf("%q: a container has it", name)
		}
		if err := s.RemoveVolume(name, nil); !errors.Is(err, ErrNoVolume) {
			t.Errorf("remove %q: %v", name, err)
		}
	}
	if _, err := os.Stat(victim); err != nil {
		t.Error(err)
	}
	ents, _ := os.ReadDir(s.VolumesDir())
	more, _ := os.ReadDir(s.dir)
	if len(ents)+len(more) > 0 {
		t.Errorf("left: %v %v", ents, more)
	}
}

func TestAContainerThatFailsLeavesNoVolumeWithoutAName(t *testing.T) {
	s := newSet(t)
	create(t, s, "taken")
	if _, _, err := s.Create(Config{Name: "taken", Volumes: []Volume{{Anonymous: true, Target: "/a"}}}); err == nil {
		t.Fatal("a name was given twice")
	}
	if all, err := s.Volumes(); len(all) > 0 || err != nil {
		t.Errorf("%+v %v", all, err)
	}
}

// A volume is deleted or used, whoever is first.
func TestRemovingRacesWithCreating(t *testing.T) {
	s := newSet(t)
	for range 50 {
		if _, err := s.CreateVolume("data", nil); err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		var c *Container
		both.Go(func() { _ = s.RemoveVolume("data", nil) })
		both.Go(func() {
			var lock *os.File
			var err error
			if c, lock, err = s.Create(Config{Volumes: []Volume{{Name: "data", Target: "/d"}}}); err != nil {
				t.Error(err)
				return
			}
			lock.Close()
		})
		both.Wait()
		if t.Failed() {
			return
		}
		if _, err := os.Stat(c.Volumes[0].Source); err != nil {
			t.Fatalf("the container has no volume: %v", err)
		}
		if err := c.Erase(nil); err != nil {
			t.Fatal(err)
		}
	}
}

// What a killed command leaves is no volume, and goes.
func TestHalvesOfVolumesAreSwept(t *testing.T) {
	s := newSet(t)
	if _, err := s.CreateVolume("data", nil); err != nil {
		t.Fatal(err)
	}
	for _, half := range []string{".new-1/data", ".gone-2/data/sub"} {
		if err := os.MkdirAll(filepath.Join(s.VolumesDir(), half), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(s.VolumesDir(), "data", "volume.json"), []byte(`{"name":"other"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Volumes(); len(all) > 0 || err == nil || !strings.Contains(err.Error(), "not that of this volume") {
		t.Errorf("%+v %v", all, err)
	}
	if err := s.SweepVolumes(nil); err != nil {
		t.Fatal(err)
	}
	ents, _ := os.ReadDir(s.VolumesDir())
	if !slices.ContainsFunc(ents, func(e os.DirEntry) bool { return e.Name() == "data" }) || len(ents) != 1 {
		t.Errorf("%v", ents)
	}
	if err := s.RemoveVolume("data", nil); err != nil { // also one that is damaged
		t.Error(err)
	}
}

func TestAVolumeWhoseRecordIsAFifoIsNamed(t *testing.T) {
	s := In(t.TempDir())
	dir := filepath.Join(s.VolumesDir(), "odd")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(dir, "volume.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	if all, err := s.Volumes(); len(all) > 0 || err == nil || !strings.Contains(err.Error(), "read volume odd") {
		t.Errorf("%v, %v", all, err)
	}
}
