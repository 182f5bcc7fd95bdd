package cli_test

import (
	"os"
	"strings"
	"testing"
)

// goOn presses Enter until the prompt after a step is there.
func (p *typist) goOn(step string) {
	p.t.Helper()
	for range 40 {
		if strings.HasSuffix(p.until("] Enter: go on, s: shell, c: no more stops, q: give up > "), " "+step) {
			return
		}
		p.types("\r")
	}
	p.t.Fatalf("there is no step %s", step)
}

func TestStepWaitsAndShowsWhatIsThere(t *testing.T) {
	p := atTerminal(t, terminalStore(t), "run", "--step", "--rm", "--hostname", "box", "-it", "tiffin/base", "sh")
	// Nothing of the container is there: a user namespace, and the host's name.
	p.goOn("user-namespace")
	p.types("s\r")
	p.sees(" user-namespace# ")
	p.types("echo uid=$(id -u), pid=$$; hostname > /dev/null && echo host${ROOT:+root}\r")
	p.sees("uid=0, pid=")
	p.sees("hostroot")
	p.types("exit\r")
	// The root is mounted, and the host's tree is still there. An interrupt is the shell's.
	p.goOn("root")
	p.types("s\r")
	p.sees(" root# ")
	p.types("sleep 100\r")
	p.sees("sleep 100")
	p.types("\x03")
	p.sees(" root# ")
	p.types("ls -d $ROOT/etc/passwd /proc/1; echo $(grep -c fuse.tiffin /proc/self/mountinfo) mount, at $$\r")
	p.sees("root/etc/passwd")
	p.sees("1 mount, at ")
	p.types("\x04") // Ctrl-D
	// The image is all there is, and no capability has been dropped.
	p.goOn("pivot")
	p.types("s\r")
	p.sees(" pivot# ")
	p.types("hostname; grep CapEff /proc/self/status; ls $ROOT; exit 3\r")
	p.sees("box")
	p.sees("000001ffffffffff")
	p.sees("no such file")
	p.goOn("keyring")
	p.types("s\r")
	p.sees(" keyring# ")
	p.types("grep Seccomp: /proc/self/status; readlink /proc/self/ns/pid > /same; exit\r")
	p.sees("Seccomp:")
	p.sees("0")
	// Several looks at one step, then the command: in the namespaces, and with the file, that
	// were seen.
	p.goOn("capabilities")
	p.types("s\r")
	p.sees(" capabilities# ")
	p.types("grep -e CapEff -e Seccomp: /proc/self/status; exit\r")
	p.sees("00000000a80425fb")
	p.sees("2")
	p.goOn("capabilities")
	p.types("c\r")
	p.sees("# ")
	p.types("test $(readlink /proc/self/ns/pid) = $(cat /same) && echo its $(echo same)\r")
	p.sees("its same")
	p.types("exit 5\r")
	p.ends(5)
}

func TestStepCanBeGivenUp(t *testing.T) {
	store, out := terminalStore(t), t.TempDir()
	const interrupt, end = "\x03", "\x04"
	for _, give := range []struct{ step, key string }{
		{"user-namespace", "q\r"}, {"proc", "q\r"}, {"exec", "q\r"}, {"namespaces", interrupt}, {"mask", end},
	} {
		p := atTerminal(t, store, "run", "--step", "--rm", "-v", out+":/out", "tiffin/base", "touch", "/out/ran")
		p.goOn(give.step)
		p.types(give.key)
		p.sees("given up after step ")
		p.ends(125)
		if _, err := os.Stat(out + "/ran"); err == nil {
			t.Errorf("%s: the command ran", give.step)
		}
	}
	if left, err := os.ReadDir(store + "/containers"); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestStepStopsAtOneStep: with a name, the others are neither told nor waited for.
func TestStepStopsAtOneStep(t *testing.T) {
	p := atTerminal(t, terminalStore(t), "run", "--step=hostname", "--rm", "--hostname", "box", "tiffin/base", "echo", "the", "command")
	before := p.until("hostname] Enter: go on, s: shell, c: no more stops, q: give up > ")
	if strings.Contains(before, " pivot ") || strings.Contains(before, "user-namespace") || !strings.Contains(before, "sethostname(\"box\"") {
		t.Errorf("before the stop: %s", before)
	}
	p.types("\r")
	p.sees("the command")
	p.ends(0)
}

// TestPredictionsAreCompared: the truth is what the command prints at that step.
func TestPredictionsAreCompared(t *testing.T) {
	store := terminalStore(t)
	for _, x := range []struct{ step, answer, verdict string }{
		{"user-namespace", "65534", "It prints 0, not 65534."},
		{"hostname", "box", "Right, it prints box."},
		{"pivot", "no", "Right, it prints no."},
		{"seccomp", "2", "Right, it prints 2."},
		{"user", "", "It prints 0."},
		{"capabilities", "00000000a80425fb", "Right, it prints 00000000a80425fb."},
	} {
		p := atTerminal(t, store, "run", "--predict", "--step="+x.step, "--rm", "--hostname", "box", "tiffin/base", "true")
		if asked := p.until(" print after this? > "); strings.Contains(asked, "manual  ") {
			t.Errorf("%s: the step is told before the question: %s", x.step, asked)
		}
		p.types(x.answer + "\r")
		p.sees(x.verdict)
		p.sees("give up > ")
		p.types("c\r")
		p.ends(0)
	}
}
