package union

import (
	"reflect"
	"testing"

	"tiffin/image/layer"
	tt "tiffin/internal/test/tartest"
)

func newStack(t *testing.T, layers ...[]tt.Entry) *Stack {
	t.Helper()
	xs, merged := stack(t, layers...)
	return &Stack{Layers: xs, Merged: decode(t, merged)}
}

func TestUsageCountsWhatUpperLayersHide(t *testing.T) {
	s := newStack(t,
		[]tt.Entry{tt.File("d/replaced", "12345"), tt.File("d/kept", "123"), tt.File("d/deleted", "1234567"), tt.File("d/empty", ""),
			// One file, of which a name stays.
			tt.File("one", "12"), tt.Hardlink("d/two", "one"),
			// One that a hard link of the layer above keeps.
			tt.File("d/rescued", "1234")},
		[]tt.Entry{tt.File("d/replaced", "1"), tt.Whiteout("d/deleted"), tt.Whiteout("one"),
			tt.Hardlink("safe", "d/rescued"), tt.Whiteout("d/rescued")},
		[]tt.Entry{tt.Opaque("o"), tt.File("o/new", "123456")})
	for path, want := range map[string][]Usage{
		"/":           {{5, 21, 2, 12}, {1, 1, 0, 0}, {1, 6, 0, 0}},
		"/d":          {{5, 21, 2, 12}, {1, 1, 0, 0}, {}},
		"/d/replaced": {{1, 5, 1, 5}, {1, 1, 0, 0}, {}},
		"/one":        {{1, 2, 0, 0}, {}, {}},
		"/d/deleted":  {{1, 7, 1, 7}, {}, {}},
		"/nothing":    {{}, {}, {}},
	} {
		if got := s.Usage(path); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
}

func TestHidesCountsForTheFirstLayerThatTakesTheLastName(t *testing.T) {
	s := newStack(t,
		[]tt.Entry{tt.File("twice", "12345"), tt.File("kept", "123"), tt.File("d/deleted", "1234567"), tt.File("one", "12"), tt.Hardlink("two", "one"),
			tt.File("o/old", "1"), tt.File("f/under", "12345678"), tt.File("empty", "")},
		[]tt.Entry{tt.File("twice", "1"), tt.Whiteout("one"), tt.File("f", "1"), tt.Whiteout("empty")},
		[]tt.Entry{tt.Whiteout("twice"), tt.Whiteout("two"), tt.Whiteout("d"), tt.Opaque("o")})
	got := s.Hides()
	if want := []Usage{{}, {Files: 2, Bytes: 13}, {Files: 4, Bytes: 11}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	var bytes, hidden int64
	for i, u := range s.Usage("/") {
		bytes, hidden = bytes+got[i].Bytes, hidden+u.HiddenBytes
	}
	if bytes != hidden {
		t.Errorf("%d bytes are hidden, and the layers hide %d", hidden, bytes)
	}
}

func TestWhyShowsWhatALayerHasThoughItIsNotAsked(t *testing.T) {
	s := newStack(t,
		[]tt.Entry{tt.File("f", "123"), tt.File("g", "1")},
		[]tt.Entry{tt.Dir("other")},
		[]tt.Entry{tt.Whiteout("f")})
	fs := s.Why("/f")
	if len(fs) != 3 || fs[0].Answer != Whiteout || fs[0].Entry != nil || fs[1].Answer != NotAsked || fs[1].Entry != nil ||
		fs[2].Answer != NotAsked || fs[2].Entry == nil || fs[2].Entry.Size != 3 || fs[2].Usage.HiddenBytes != 3 {
		t.Errorf("%+v", fs)
	}
}

func TestPushIsOneMoreLayer(t *testing.T) {
	low, top := []tt.Entry{tt.File("a", "12"), tt.File("b", "3")}, []tt.Entry{tt.Whiteout("a"), tt.File("c", "456")}
	s := newStack(t, low)
	xs, _ := stack(t, top)
	if err := s.Push(xs[0].Tree()); err != nil {
		t.Fatal(err)
	}
	if want := newStack(t, low, top).Usage("/"); !reflect.DeepEqual(s.Usage("/"), want) || want[0].HiddenBytes != 2 {
		t.Errorf("%+v, want %+v", s.Usage("/"), want)
	}
	if _, ok := s.Merged.Find("a"); ok {
		t.Error("what the new layer deletes is there")
	}
	if err := s.Push(layer.NewTree(layer.NewDir(0o755))); err != nil || len(s.Layers) != 3 {
		t.Errorf("an empty layer: %v", err)
	}
}
