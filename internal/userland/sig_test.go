// What the kernel is told about signals before any code of the program runs.

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestNoHandlerIsEverInstalled looks at the program as scripts/setup builds it while it does
// something that puts no signal back: it writes its layer into a pipe that nobody reads.
func TestNoHandlerIsEverInstalled(t *testing.T) {
	program, err := filepath.Abs("../programs/built/userland")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		lacks(t, "userland", "scripts/setup has not built it: %v", err)
	}
	cmd := exec.Command(program, "--layer")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer out.Close()
	if _, err := out.Read(make([]byte, 1)); err != nil { // it is where it stays
		t.Fatal(err)
	}
	time.Sleep(10 * time.Millisecond)
	status, err := os.ReadFile("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "SigCgt:")
	caught, err := strconv.ParseUint(strings.Fields(after)[0], 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	// SIGURG, and 32 to 34, with which the runtime stops its threads: bit N-1 is signal N, proc(5).
	if caught &^= 1<<22 | 7<<31; caught != 0 {
		t.Errorf("signals have handlers, bits %#x", caught)
	}
}
