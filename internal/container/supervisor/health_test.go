// What the results of a healthcheck make of a container.

package supervisor

import (
	"strings"
	"testing"

	"tiffin/internal/container/disk"
)

func TestJudge(t *testing.T) {
	check := disk.Healthcheck{}.WithDefaults()
	for _, e := range []struct {
		results string // exit statuses; ".": from then on it is no longer young
		want    string
		streak  int
	}{
		{"1111", disk.HealthStarting, 0}, {"11.11", disk.HealthStarting, 2}, {"11.111", disk.Unhealthy, 3}, {"0", disk.Healthy, 0},
		{"0111", disk.Unhealthy, 3}, {".11011", disk.Healthy, 2}, {".1110", disk.Healthy, 0}, {".11111111", disk.Unhealthy, 8},
	} {
		h := disk.Health{Status: disk.HealthStarting}
		young := true
		for _, c := range e.results {
			if c == '.' {
				young = false
				continue
			}
			judge(&h, &check, disk.HealthResult{ExitCode: int(c - '0')}, young)
		}
		if h.Status != e.want || h.FailingStreak != e.streak || len(h.Log) > healthResults {
			t.Errorf("%s: %+v, want %s and %d", e.results, h, e.want, e.streak)
		}
	}
}

func TestBeginning(t *testing.T) {
	for text, want := range map[string]string{"": "", "abc": "abc", "abcd": "abcd", "abcde": "abcd...", "ab\xff": "ab\uFFFD"} {
		if got := beginning(strings.NewReader(text), 4); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}
