// The attacks that SECURITY.md lists, and what proves that they fail.

package arch

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestAttacksAreTested: each fault that is listed has a guard, each guard is in its file, and each
// test exists. That the one fails without the other is seen by scripts/cves.
func TestAttacksAreTested(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("../..", "SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	guards := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| ([a-z0-9-]+) \\| (\\S+) (Test\\w+)\\S* \\| (\\S+) \\| `(.*)` \\|$").FindAllSubmatch(text, -1) {
		guard, pkg, test, file, edit := string(m[1]), string(m[2]), string(m[3]), string(m[4]), string(m[5])
		guards[guard] = false
		if out, err := exec.Command("grep", "-rq", "^func "+test+"(", filepath.Join("../..", pkg)).CombinedOutput(); err != nil {
			t.Errorf("%s: %s has no %s %s", guard, pkg, test, out)
		}
		whole, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Error(err)
			continue
		}
		if without, err := exec.Command("sed", edit, filepath.Join("../..", file)).Output(); err != nil || string(without) == string(whole) {
			t.Errorf("%s: sed '%s' takes nothing out of %s: %v", guard, edit, file, err)
		}
	}
	var faults []string
	for _, m := range regexp.MustCompile(`(?m)^\| (CVE-20(?:1[4-9]|2\d)-\d{4,}) \| [^|]+ \| [^|]+ \| ([a-z-]+) \|$`).FindAllSubmatch(text, -1) {
		faults = append(faults, string(m[1]))
		if _, ok := guards[string(m[2])]; !ok {
			t.Errorf("%s: there is no guard %q", m[1], m[2])
		}
		guards[string(m[2])] = true
	}
	if n := strings.Count(string(text), "\n| CVE-"); len(faults) < 60 || len(faults) != n {
		t.Errorf("%d faults are listed, %d of them well", n, len(faults))
	}
	slices.Sort(faults)
	if len(slices.Compact(faults)) != strings.Count(string(text), "\n| CVE-") {
		t.Error("a fault is listed twice")
	}
	for guard, used := range guards {
		if !used {
			t.Errorf("%s guards against nothing that is listed", guard)
		}
	}
}
