package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tiffin/internal/test/must"
)

// TestManualPagesAreOfEveryCommand: man(1) finds nothing to warn about in them.
func TestManualPagesAreOfEveryCommand(t *testing.T) {
	dir := t.TempDir()
	if status := WriteManuals([]string{filepath.Join(dir, "man1")}); status != 0 {
		t.Fatalf("status %d", status)
	}
	for _, g := range table {
		for _, c := range g.commands {
			text, err := os.ReadFile(filepath.Join(dir, "man1", "tiffin-"+c.name+".1"))
			if err != nil || !strings.Contains(string(text), `\-\-help`) {
				t.Errorf("%s: %v, %q", c.name, err, text)
			}
			if strings.HasPrefix(c.make().ArgsUsage, "COMMAND") && belowOf(c.name) == nil {
				t.Errorf("the commands below %s have no pages, and are not completed", c.name)
			}
		}
	}
	must.Tool(t, "man")
	for name, want := range map[string]string{"tiffin": "tiffin-run", "tiffin-run": "--cidfile FILE", "tiffin-network-create": "--internal"} {
		man := exec.Command("man", "--warnings", "-l", filepath.Join(dir, "man1", name+".1"))
		man.Env = append(os.Environ(), "MANPAGER=cat", "MANROFFOPT=-c", "LC_ALL=C.UTF-8", "MANWIDTH=120", "MAN_KEEP_FORMATTING=")
		var warnings strings.Builder
		man.Stderr = &warnings
		out, err := man.Output()
		if err != nil || warnings.Len() > 0 || !strings.Contains(string(out), want) {
			t.Errorf("man %s: %v, %s\n%s", name, err, warnings.String(), out)
		}
	}
}
