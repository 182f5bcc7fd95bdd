package kube

import (
	"strings"
	"testing"
)

var vars = map[string]string{"A": "rice", "B": "$(A)"}

// TestExpand: what Kubernetes makes of references.
func TestExpand(t *testing.T) {
	for s, want := range map[string]string{
		"$(A)": "rice", "x$(A)y": "xricey", "$(C)": "$(C)", "$$(A)": "$(A)", "$$$(A)": "$rice", "$A": "$A", "$": "$", "$$": "$", "$(A": "$(A", "$(B)": "$(A)",
		"$(echo $(A))": "$(echo $(A))", "$()": "$()", "a$$": "a$",
	} {
		if got, ok := Expand(s, vars); got != want || !ok {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
	if _, ok := Expand(strings.Repeat("$(A)", MaxString), map[string]string{"A": strings.Repeat("x", MaxString)}); ok {
		t.Error("there is no limit")
	}
}

// FuzzLiteral: what is written comes back, and nothing is escaped that needs it not.
func FuzzLiteral(f *testing.F) {
	for _, s := range []string{"", "$", "$$", "$(A)", "$(id)", "$$(A)", "$(", "$(x $(A)", "é$(B)$$$", "$(A)$", "$)(A)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 1000 {
			return
		}
		text := Literal(s, vars)
		if got, ok := Expand(text, vars); got != s || !ok {
			t.Errorf("%q became %q, and that %q", s, text, got)
		}
		if !strings.Contains(s, "$$") && !strings.Contains(s, "$(") && text != s {
			t.Errorf("%q became %q", s, text)
		}
	})
}
