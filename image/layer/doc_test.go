package layer

import (
	"encoding/hex"
	"os"
	"regexp"
	"strings"
	"testing"

	tt "tiffin/internal/test/tartest"
)

// TestTheIndexInTheBookIsARealOne keeps the hex dump in appendix A true.
func TestTheIndexInTheBookIsARealOne(t *testing.T) {
	tree := scan(t, tt.Of(t, tt.File("hi", "hello\n", tt.Owner(1000, 1000), tt.Mtime(1700000000, 0))))
	want := strings.Split(strings.TrimSpace(hex.Dump(tree.Encode())), "\n")
	doc, err := os.ReadFile("../../tutorial/book/a-formats.md")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range regexp.MustCompile(`(?m)^    ([0-9a-f]{8}  .*\|)$`).FindAllStringSubmatch(string(doc), -1) {
		got = append(got, m[1])
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("a-formats.md should show\n    %s", strings.Join(want, "\n    "))
	}
}
