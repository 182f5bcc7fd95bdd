// What becomes of a container whose client is gone, or whose terminal: it goes on, and nothing that
// it prints is lost, or it is asked to end.

package cli_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// counting prints numbers, reads a line, and ends with status 5.
const counting = "i=0; while [ $i -lt 100 ]; do echo n$i; i=$((i+1)); sleep 0.005; done; echo all; read x; exit 5"

// complete waits until a container has counted to the end, and looks whether its log has all that.
// It is false if there is no such container: its client was killed before there was one.
func (k *killer) complete(name string) bool {
	k.t.Helper()
	var log string
	for end := time.Now().Add(2 * time.Minute); !strings.Contains(log, "all"); time.Sleep(20 * time.Millisecond) {
		status, err := k.try("inspect", "-f", "{{.State.Status}}", name)
		if err != nil && strings.Contains(status, "no such") && len(supervisors(k.store)) == 0 {
			return false
		}
		if time.Now().After(end) {
			k.t.Fatalf("container %s is %s, and in its log is %q", name, status, log)
		}
		log, _ = k.try("logs", name)
	}
	var want []string
	for i := range 100 {
		want = append(want, fmt.Sprint("n", i))
	}
	if got := strings.Fields(log); !slices.Equal(got, append(want, "all")) {
		k.t.Errorf("in the log of %s is %q", name, log)
	}
	return true
}

func TestALostTerminalLosesNothing(t *testing.T) {
	store := terminalStore(t)
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: store}
	k.tiffin("run", "--rm", "tiffin/base", "true") // nobody waits for the image later
	found := 0
	for i, lose := range []func(p *typist){
		func(p *typist) { _ = p.cmd.Process.Kill() },
		func(p *typist) { p.slave.Close(); p.master.Close() },
		func(p *typist) { _ = p.cmd.Process.Signal(unix.SIGHUP) },
		func(p *typist) { _ = p.cmd.Process.Kill(); p.slave.Close(); p.master.Close() },
		func(p *typist) { p.slave.Close(); p.master.Close() },
		func(p *typist) { p.slave.Close(); p.master.Close() },
	} {
		name := fmt.Sprint("lost", i)
		p := atTerminal(t, store, "run", "-it", "--rm", "--name", name, "tiffin/base", "sh", "-c", counting)
		switch i { // the others may all come before there is a container
		case 4:
			p.sees("n0")
		case 5:
			p.sees("all")
		}
		time.Sleep(time.Duration(rand.IntN(500)) * time.Millisecond)
		lose(p)
		_ = p.cmd.Wait()
		if !k.complete(name) {
			continue
		}
		found++
		p = atTerminal(t, store, "attach", name)
		time.Sleep(200 * time.Millisecond)
		p.types("\r")
		p.ends(5)
	}
	if found == 0 {
		t.Error("every client was killed before it had a container")
	}
	if out := k.tiffin("ps", "-aq"); out != "" {
		t.Errorf("left: %s", out)
	}
}

// TestALostClientLosesNothing: its reader goes before it, or after it.
func TestALostClientLosesNothing(t *testing.T) {
	store := terminalStore(t)
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: store}
	for i := range 4 {
		name := fmt.Sprint("piped", i)
		cmd := k.command("run", "--name", name, "tiffin/base", "sh", "-c", strings.Replace(counting, "read x; ", "", 1))
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = io.ReadFull(out, make([]byte, 3)) // it prints
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(200)) * time.Millisecond)
		if i%2 == 0 {
			out.Close()
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if !k.complete(name) {
			t.Error("it is gone")
		}
		if status := k.tiffin("wait", name); status != "5\n" {
			t.Errorf("its exit status is %s", status)
		}
		k.tiffin("rm", name)
	}
}

// TestATiedContainerIsAskedToEnd: one that nobody could find again.
func TestATiedContainerIsAskedToEnd(t *testing.T) {
	store := terminalStore(t)
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: store}
	dir := t.TempDir()
	for trap, want := range map[string]string{
		`trap "echo hup >> /w/f; exit" HUP`:                                              "hup\n",
		`trap "echo hup >> /w/f" HUP; trap "echo term >> /w/f; exit" TERM`:               "hup\nterm\n",
		`trap "echo hup >> /w/f" HUP; trap "echo term >> /w/f" TERM`:                     "hup\nterm\n",
		`trap "echo term >> /w/f; exit" TERM; trap "" HUP`:                               "term\n",
		`: no traps at all, and process 1 hears nothing that it has not asked for; true`: "",
	} {
		file := filepath.Join(dir, "f")
		_ = os.Remove(file)
		cmd := k.command("run", "--rm", "--stop-timeout", "5", "-v", dir+":/w", "tiffin/base", "sh", "-c", trap+"; echo up; while :; do sleep 0.02; done")
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			_, err = io.ReadFull(out, make([]byte, 3))
		}
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		for end := time.Now().Add(2 * time.Minute); len(supervisors(store)) > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: it goes on", trap)
			}
		}
		if got, _ := os.ReadFile(file); string(got) != want {
			t.Errorf("%s: after %v it had heard %s", trap, time.Since(begun), strconv.Quote(string(got)))
		}
	}
}
