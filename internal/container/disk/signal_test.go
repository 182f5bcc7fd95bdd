package disk

import "testing"

func TestSignalsAreReadAsPeopleWriteThem(t *testing.T) {
	for s, want := range map[string]int{"TERM": 15, "SIGTERM": 15, "sigterm": 15, "9": 9, "RTMIN+3": 37, "SIGRTMAX-1": 63, "RTMIN": 34, "0": 0, "65": 0, "": 0, "SIG": 0, "RTMIN+40": 0} {
		if got, err := ParseSignal(s); int(got) != want || (err == nil) != (want != 0) {
			t.Errorf("%q: %d, %v", s, got, err)
		}
	}
}
