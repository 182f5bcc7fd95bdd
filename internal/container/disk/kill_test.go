// What is on disk stays sound when the process that writes it is killed, and a lock is free when
// its last holder is gone.

package disk

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/test/reexec"
)

func TestMain(m *testing.M) {
	os.Exit(reexec.Main(m, reexec.Parts{
		"lives": reexec.Fails(lives), "states": reexec.Fails(states), "hold": reexec.Fails(hold), "named": reexec.Fails(named),
		"first thread ends": reexec.Never(firstThreadEnds),
	}))
}

// lives makes containers, one after the other, renames and removes them, until it is killed.
func lives(args []string) error {
	s := In(args[0])
	for i := 0; ; i++ {
		c, lock, err := s.Create(Config{Name: fmt.Sprintf("name-%d", i%3), ImageID: "image", AutoRemove: i%2 == 0})
		if err != nil {
			return err
		}
		if i == 0 {
			fmt.Println("begun")
		}
		for _, f := range []func() error{
			func() error { return c.Commission(nil) },
			func() error { return c.WriteState(State{Status: Running}) },
			func() error { return s.Rename(c, fmt.Sprintf("other-%d", i%3)) },
			func() error { return c.WriteState(State{Status: Exited, ExitCode: i}) },
			func() error {
				if i%2 == 0 {
					c.Vanish()()
					return nil
				}
				return c.Erase(nil)
			},
			lock.Close,
		} {
			if err := f(); err != nil {
				return err
			}
		}
	}
}

// until kills a part of this test binary a moment after it has said that it has begun; it must not
// have ended before.
func until(t *testing.T, d time.Duration, part string, args ...string) {
	t.Helper()
	cmd := reexec.Command(part, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	_, _ = bufio.NewReader(out).ReadString('\n')
	time.Sleep(d)
	_ = cmd.Process.Kill()
	if err := cmd.Wait(); cmd.ProcessState.Exited() {
		t.Fatalf("%s: %v: %s", part, err, said.String())
	}
}

func TestAKilledCommandLeavesContainersThatAreWholeOrSwept(t *testing.T) {
	s := newSet(t)
	rnd := rand.New(rand.NewPCG(1, 2))
	seen := map[Status]int{}
	for range 40 {
		until(t, time.Duration(rnd.IntN(30000))*time.Microsecond, "lives", s.root)
		all, err := s.All()
		if err != nil {
			t.Fatalf("a container cannot be read: %v", err)
		}
		for _, c := range all {
			st, err := c.State()
			if err != nil {
				t.Fatal(err)
			}
			if c.Locked() || st.Status == Running {
				t.Fatalf("a killed command still holds %s: %+v", c.Name, st)
			}
			seen[st.Status]++
			if found, err := s.Find(c.ID); err != nil || found.Name != c.Name {
				t.Fatalf("container %s is not found by its id: %v", c.Name, err)
			}
			if found, err := s.Find(c.Name); err != nil || found.ID != c.ID {
				t.Fatalf("container %s is not found by its name: %v", c.Name, err)
			}
		}
		age(t, s)
		s.Sweep(nil)
		for _, c := range all {
			if found, err := s.Find(c.ID); err == nil {
				lock, err := found.LockNow()
				if err != nil {
					t.Fatal(err)
				}
				if err := found.Erase(nil); err != nil {
					t.Fatal(err)
				}
				lock.Close()
			}
		}
		s.Sweep(nil)
		if left, _ := os.ReadDir(s.dir); len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
	}
	t.Logf("found after a kill: %v", seen)
	if len(seen) == 0 {
		t.Error("no kill met a container that is complete")
	}
}

// TestAContainerHasItsNameAsLongAsItIsShown: what cannot be removed, or was not because a command
// was killed, can be removed by its name later.
func TestAContainerHasItsNameAsLongAsItIsShown(t *testing.T) {
	s := newSet(t)
	c := create(t, s, "box")
	state := c.Path("state.json")
	if err := errors.Join(os.Rename(state, state+".kept"), os.MkdirAll(state+"/x", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := c.Erase(nil); err == nil {
		t.Fatal("what cannot be removed is removed")
	}
	if err := errors.Join(os.RemoveAll(state), os.Rename(state+".kept", state)); err != nil {
		t.Fatal(err)
	}
	found, err := s.Find("box")
	if err != nil || found.ID != c.ID {
		t.Fatalf("not found by its name: %v", err)
	}
	if err := found.Erase(nil); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(s.dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// age makes directories look as if they had been made long ago.
func age(t *testing.T, s *Set) {
	t.Helper()
	ids, err := s.ids()
	if err != nil {
		t.Fatal(err)
	}
	then := time.Now().Add(-time.Hour)
	for _, id := range ids {
		_ = os.Chtimes(filepath.Join(s.dir, id), then, then)
	}
}

// states replaces state.json with longer and shorter ones until it is killed.
func states(args []string) error {
	c, err := Open(args[0])
	fmt.Println("begun")
	for i := 0; err == nil; i++ {
		err = c.WriteState(State{Status: Exited, ExitCode: i % 50, Error: strings.Repeat("x", i%50*200)})
	}
	return err
}

func TestAReaderNeverSeesHalfAState(t *testing.T) {
	c := create(t, newSet(t), "box")
	for range 5 {
		done := make(chan struct{})
		go func() {
			defer close(done)
			until(t, 100*time.Millisecond, "states", c.dir)
		}()
		for reading := true; reading; {
			select {
			case <-done: // once more, when it has been killed
				reading = false
			default:
			}
			st, err := c.ReadState()
			if err != nil || len(st.Error) != st.ExitCode*200 {
				t.Fatalf("%d, %d bytes, %v", st.ExitCode, len(st.Error), err)
			}
		}
	}
	// What the killed one has left beside it is in nobody's way.
	if err := c.WriteState(State{Status: Created}); err != nil {
		t.Fatal(err)
	}
}

// hold keeps the descriptor that it has inherited, or takes the lock itself, and waits.
func hold(args []string) error {
	if len(args) > 0 {
		c, err := Open(args[0])
		if err == nil {
			_, err = c.LockNow()
		}
		if err != nil {
			return err
		}
	}
	fmt.Println("held")
	time.Sleep(time.Hour)
	return nil
}

// held starts a holder, and returns when it has what it is to hold.
func held(t *testing.T, inherit *os.File, args ...string) *exec.Cmd {
	t.Helper()
	cmd := reexec.Command("hold", args...)
	if inherit != nil {
		cmd.ExtraFiles = []*os.File{inherit}
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("%q, %v", line, err)
	}
	return cmd
}

func TestALockPassesOnAndIsFreeWhenItsHolderIsKilled(t *testing.T) {
	c := create(t, newSet(t), "box")
	lock, err := c.Lock()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WriteState(State{Status: Running}); err != nil {
		t.Fatal(err)
	}
	supervisor := held(t, lock)
	lock.Close()
	if st, err := c.State(); err != nil || st.Status != Running || !c.Locked() {
		t.Errorf("%+v, %v: its lock went with the process that passed it on", st, err)
	}
	if _, err := c.Lock(); !errors.Is(err, ErrLocked) {
		t.Errorf("taken from a running container: %v", err)
	}
	_ = supervisor.Process.Kill()
	_ = supervisor.Wait()
	if st, err := c.State(); err != nil || st.Status != Exited || st.ExitCode != 137 || st.Error == "" {
		t.Errorf("%+v, %v", st, err)
	}
	if lock, err = c.Lock(); err != nil {
		t.Fatal(err)
	}
	lock.Close()
}

func TestALockIsWaitedForOnlyWhereItWillBeFreeSoon(t *testing.T) {
	c := create(t, newSet(t), "box")
	holder := held(t, nil, c.dir)
	begun := time.Now()
	if _, err := c.LockWithin(100 * time.Millisecond); !errors.Is(err, ErrLocked) || time.Since(begun) < 100*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(begun))
	}
	time.AfterFunc(100*time.Millisecond, func() { _ = holder.Process.Kill() })
	lock, err := c.Lock() // the container has ended, so whoever holds it is about to go
	if err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if err := c.Erase(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := c.LockNow(); !errors.Is(err, ErrNotFound) {
		t.Errorf("locked a container that is gone: %v", err)
	}
}

// TestALockOfAContainerThatIsBeingRemovedIsNotTaken: between open(2) and fcntl(2) its remover may
// have let go of it.
func TestALockOfAContainerThatIsBeingRemovedIsNotTaken(t *testing.T) {
	c := create(t, newSet(t), "box")
	if err := os.Remove(c.Path("state.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.LockNow(); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if c.Locked() {
		t.Error("what was not taken is held")
	}
}

// named waits under a name that looks like the end of a field of /proc/pid/stat.
func named([]string) error {
	p, err := unix.BytePtrFromString("a) S 1 (b")
	if err == nil {
		err = unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(p)), 0, 0, 0)
	}
	if err != nil {
		return err
	}
	return hold(nil)
}

func TestAProcessIsKilledIfItIsTheOneThatIsMeant(t *testing.T) {
	cmd := reexec.Command("named")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("%q, %v", line, err)
	}
	pid, mine := cmd.Process.Pid, StartTime(os.Getpid())
	start := StartTime(pid)
	if start < mine || start > mine+100*3600 { // clock ticks, 100 a second; what an hour of tests is
		t.Errorf("started at %d, this process at %d", start, mine)
	}
	KillStale(pid, start-1) // somebody else's
	KillStale(pid, 0)
	KillStale(0, start)
	time.Sleep(50 * time.Millisecond)
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err != nil || strings.Contains(string(stat), ") Z ") || StartTime(pid) != start {
		t.Fatalf("the wrong process was killed: %v", err)
	}
	KillStale(pid, start)
	if err := cmd.Wait(); cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != unix.SIGKILL {
		t.Error(err)
	}
	if StartTime(pid) != 0 {
		t.Error("a process that has ended has a start time")
	}
}
