package tutorial

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	built "tiffin/internal/test/binary"
	"tiffin/internal/test/must"
	"tiffin/internal/test/reexec"
	"tiffin/ns/probe"
)

// binary is the tiffin that the labs' scripts use.
var binary string

func TestMain(m *testing.M) {
	os.Exit(reexec.Main(tests{m}, reexec.Parts{probe.Command: reexec.Never(probe.Main)}))
}

// tests have the program built before they run.
type tests struct{ m *testing.M }

func (t tests) Run() int {
	return built.Main(tidy(t), func(file string) { binary = file })
}

// tidy is tests that must leave nothing behind.
type tidy struct{ m *testing.M }

func (t tidy) Run() int {
	// So that what is left behind is seen, and that a blank in a path does no harm.
	tmp := filepath.Join(filepath.Dir(binary), "a tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		panic(err)
	}
	os.Setenv("TMPDIR", tmp)
	status := t.m.Run()
	if left, _ := filepath.Glob(filepath.Join(tmp, tempPattern+"*")); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "left behind: %q\n", left)
		return 1
	}
	if left := ofTests(); len(left) > 0 {
		fmt.Fprintf(os.Stderr, "left behind: processes %v\n", left)
		return 1
	}
	return status
}

// ofTests are the processes that labs have started in these tests.
func ofTests() (pids []string) {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		env, _ := os.ReadFile(filepath.Join(d, "environ"))
		if strings.Contains("\x00"+string(env), "\x00"+labVariable+"="+os.TempDir()) {
			pids = append(pids, filepath.Base(d))
		}
	}
	return pids
}

// embedded are all labs in the binary, the skeleton too.
func embedded(t *testing.T) []*Lab {
	t.Helper()
	labs, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	l, err := readLab(builtin, skeleton, "")
	if err != nil {
		t.Fatal(err)
	}
	return append([]*Lab{l}, labs...)
}

// need skips a test if the machine lacks what it needs, or fails it if TIFFIN_MUST says that this
// machine has it.
func need(t *testing.T, l *Lab) {
	t.Helper()
	if n, why := l.missing(); n != "" {
		if n == "curl" {
			n = "" // it can be installed
		}
		must.Skip(t, n, "the machine lacks what the lab needs: %s", why)
	}
}

// TestLabs holds every lab that comes with tiffin to what lab test demands: the
// untouched start fails, the solution passes, each wrong answer fails with its
// own message, each command in the text works. A second seed goes through the
// same but for the wrong answers.
//
// Of the attacks of the adversary a few are tried, and of a lab in stages one wrong answer for
// each; all of them, half an hour, with TIFFIN_LAB_ATTACKS=0, as `tiffin lab test` does.
func TestLabs(t *testing.T) {
	few := 2
	if n, err := strconv.Atoi(os.Getenv("TIFFIN_LAB_ATTACKS")); err == nil {
		few = n
	}
	for _, l := range embedded(t) {
		t.Run(l.Name, func(t *testing.T) {
			r := &Runner{Binary: binary, Limit: DefaultLimit}
			for _, o := range []TestOptions{{Seed: "first", Few: few}, {Seed: "second", Brief: true}} {
				if o.Brief && (l.Stages() > 0 || os.Getenv("TIFFIN_ONE_PERSON") != "") {
					continue // one that does not ask for the seed; or others try the second one
				}
				o.Step = func(what string) { t.Logf("seed %s: %s", o.Seed, what) }
				trial, err := r.Test(context.Background(), l, o)
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range trial.Problems {
					t.Errorf("seed %s: %s", o.Seed, p)
				}
				need(t, l) // what can be seen without has been
				if trial.Unsupported != "" {
					must.Skip(t, "", "unsupported: %s", trial.Unsupported)
				}
			}
		})
	}
}

// TestLabsWithoutContainers: a lab that needs nothing of the machine can be done where user
// namespaces are forbidden.
func TestLabsWithoutContainers(t *testing.T) {
	need(t, &Lab{Needs: []string{"userns"}})
	var dirs []string
	for _, l := range embedded(t) {
		if len(l.Needs) == 0 {
			dirs = append(dirs, l.Name)
		}
	}
	if len(dirs) < 3 {
		t.Fatalf("only %q need nothing", dirs)
	}
	cmd := exec.Command("unshare", append([]string{"--user", "--map-root-user", "sh", "-c", `
		echo 0 >/proc/sys/user/max_user_namespaces
		exec "$0" lab test "$@"`, binary}, dirs...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// TestEveryClaimHasItsTest looks for the tests that lessons appeal to.
func TestEveryClaimHasItsTest(t *testing.T) {
	for _, l := range embedded(t) {
		claims, err := l.claims()
		if err != nil {
			t.Errorf("%s: %v", l.Name, err)
		}
		for _, c := range claims {
			if c.Test != "" && !hasTest(t, c.Package, c.Test) {
				t.Errorf("%s: there is no %s in %s, for the claim %q", l.Name, c.Test, c.Package, c.Text)
			}
		}
	}
	if !hasTest(t, "tutorial", "TestEveryClaimHasItsTest") || hasTest(t, "tutorial", "TestEveryClaim") {
		t.Error("hasTest finds no test, or one that is not there")
	}
}

// hasTest tells whether a directory of the repository has a test function.
func hasTest(t *testing.T, dir, name string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`(?m)^func ` + regexp.QuoteMeta(name) + `\(`)
	return slices.ContainsFunc(files, func(f string) bool {
		b, err := os.ReadFile(f)
		return err == nil && pattern.Match(b)
	})
}

// TestNeedsAreProbed: a need whose checks had no probe would always be met.
func TestNeedsAreProbed(t *testing.T) {
	var names []string
	for _, r := range machine() {
		names = append(names, r.Name)
	}
	for _, need := range capabilityNames() {
		for _, c := range needed(need).checks {
			if !slices.Contains(names, c) && slices.Contains(names, "mount") {
				t.Errorf("%s: nothing probes %q", need, c)
			}
		}
	}
	l := &Lab{Needs: []string{"userns"}}
	saved := machine
	defer func() { machine = saved }()
	machine = func() []probe.Result { return []probe.Result{{Name: "user namespace", Why: "the limit is 0"}} }
	if n, why := l.missing(); n != "userns" || !strings.Contains(why, "the limit is 0") {
		t.Errorf("%q, %q", n, why)
	}
	l = &Lab{Needs: []string{"curl"}}
	t.Setenv("PATH", t.TempDir())
	if n, why := l.missing(); n != "curl" || why != "curl is not installed" {
		t.Errorf("%q, %q", n, why)
	}
}

// TestTheREADMEListsTheLabs: its table has a row for each of the four tracks, with the numbers and
// titles of the labs in it.
func TestTheREADMEListsTheLabs(t *testing.T) {
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	labs, err := Builtin()
	if err != nil {
		t.Fatal(err)
	}
	var tracks []string
	for _, track := range ByTrack(labs) {
		tracks = append(tracks, track[0].Track)
		var titles []string
		for _, l := range track {
			titles = append(titles, l.Number()+" "+l.Title)
		}
		row := fmt.Sprintf("| %s | %s |\n", track[0].Track, strings.Join(titles, " · "))
		if !strings.Contains(string(readme), row) {
			t.Errorf("the README has no row %s", row)
		}
	}
	if want := []string{"distribution", "kernel", "security", "storage"}; !slices.Equal(slices.Sorted(slices.Values(tracks)), want) {
		t.Errorf("the tracks are %q, want %q", tracks, want)
	}
}
