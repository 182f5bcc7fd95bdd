package layer

import (
	"encoding/hex"
	"os"
	"strings"
	"testing"

	tt "tiffin/internal/test/tartest"
)

// TestTheIndexInTheBookIsARealOne keeps the hex dump in appendix A true.
func TestTheIndexInTheBookIsARealOne(t *testing.T) {
	tree := scan(t, tt.Of(t, tt.File("hi", "hello\n", tt.Owner(1000, 1000), tt.Mtime(1700000000, 0))))
	dump := "    " + strings.ReplaceAll(strings.TrimSpace(hex.Dump(tree.Encode())), "\n", "\n    ") + "\n"
	doc, err := os.ReadFile("../../tutorial/book/a-formats.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), dump) {
		t.Errorf("a-formats.md should show\n%s", dump)
	}
}
