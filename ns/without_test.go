package ns

import (
	"slices"
	"strings"
	"testing"

	"tiffin/internal/errs"
)

func TestParseWithout(t *testing.T) {
	for in, want := range map[string]string{
		"net,pid": "net pid", "user-map": "user-map", "caps": "bounding-set capabilities", "seccomp": "seccomp", "cgroup": "cgroup", "hostname": "hostname",
	} {
		got, err := ParseWithout(strings.Split(in, ","))
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q %v", in, got, err)
		}
	}
	for in, want := range map[string]string{
		"foo": "no such step", "": "no such step", "join": "no such step", "pivot": "your own tree", "user-namespace": "root", "exec": "the command",
	} {
		_, err := ParseWithout([]string{in})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(errs.HintOf(err), "seccomp") {
			t.Errorf("%q: %v, hint %s", in, err, errs.HintOf(err))
		}
	}
}

// A step that is skipped says what stands in for it.
func TestEachStepThatCanBeLeftOutSaysWhatStandsIn(t *testing.T) {
	for _, s := range Steps() {
		if s.Needed == "" && s.Where != "exec" && s.Instead == "" {
			t.Errorf("step %s can be left out, and nothing says what there is instead", s.Name)
		}
	}
}

// Whatever can be left out, the command still runs, and the namespaces are as asked for.
func TestEachStepCanBeLeftOutAlone(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		for _, name := range removable() {
			without, err := ParseWithout([]string{name})
			if err != nil {
				t.Fatal(err)
			}
			j := s.job("true")
			j.Explain, j.Spec.Without = true, without
			if name == withoutMount { // the image with its applets is not there
				j.Spec.Process.Args = []string{"/bin/true"}
			}
			out := s.ok(j)
			for _, r := range out.Reports {
				if r.Step == "namespaces" {
					flag := namespaceFlag(name)
					if flag != 0 && strings.Contains(r.Calls[0], cloneFlagNames(flag)+"|") {
						t.Errorf("without %s: %s", name, r.Calls[0])
					}
				}
				if slices.Contains(without, r.Step) && r.Skipped == "" {
					t.Errorf("without %s: step %s was done", name, r.Step)
				}
			}
		}
	})
}
