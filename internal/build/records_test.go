// Records, and how little memory a million of files takes.

package build

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/dockerfile"
	"tiffin/internal/test/imagetest"
)

// small makes sorters write runs early.
func small(t *testing.T, bytes int) {
	was := maxArena
	maxArena = bytes
	t.Cleanup(func() { maxArena = was })
}

// TestASorterKeepsOrder: that of a walk, and records of one path stay as they came.
func TestASorterKeepsOrder(t *testing.T) {
	for _, room := range []int{10, 1000, 1 << 20} {
		small(t, room)
		s := sorter{dir: t.TempDir()}
		var want []string
		r := rand.New(rand.NewPCG(1, uint64(room)))
		for i := range 3000 {
			p := fmt.Sprintf("d%d/e.%d/%d", r.IntN(5), r.IntN(5), r.IntN(50))
			want = append(want, p+fmt.Sprintf("=%04d", i))
			if err := s.add(keyOf(p), fmt.Appendf(nil, "%04d", i)); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(want, func(a, b string) int { return strings.Compare(keyOf(a), keyOf(b)) })
		var got []string
		if err := s.each(func(k, v []byte) error { got = append(got, pathOf(k)+"="+string(v)); return nil }); err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(want, func(a, b string) int { return strings.Compare(keyOf(a[:len(a)-5]), keyOf(b[:len(b)-5])) })
		if !slices.Equal(got, want) {
			t.Errorf("with %d bytes of memory: %d records in another order", room, len(got))
		}
		s.close()
	}
	if got := pathOf([]byte(keyOf("a/b.c"))); got != "a/b.c" || !(keyOf("a/b") < keyOf("a.b")) {
		t.Errorf("a path becomes %q, or sorts as its bytes do", got)
	}
}

// TestDamagedRecordsAreNoFiles: of a file that is cut off or something else no more than an error
// is read, or nothing.
func TestDamagedRecordsAreNoFiles(t *testing.T) {
	e := entry{file: file{mode: unix.S_IFREG | 0o644, target: "t"}, path: "p", sum: "s"}
	whole := appendRecord(nil, keyOf("a/b"), e.encode(nil))
	for n := range len(whole) + 1 {
		l := listing{records: readRecords(strings.NewReader(string(whole[:n])), 0, int64(n))}
		err := l.next()
		if wants := map[int]bool{0: err == io.EOF, len(whole): err == nil && l.path == "a/b" && l.entry.sum == "s"}; !wants[n] && (n == 0 || n == len(whole) || err == nil || err == io.EOF) {
			t.Errorf("%d of %d bytes: %v", n, len(whole), err)
		}
	}
	for _, b := range []string{"\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "{\"a\":1}", strings.Repeat("\xff", 20)} {
		if err := readRecords(strings.NewReader(b), 0, int64(len(b))).next(); err == nil {
			t.Errorf("%q is a record", b)
		}
	}
	if err := e.decode([]byte{1, 2, 3}, nil); err == nil {
		t.Error("three bytes are an entry")
	}
}

// many is a tree of n files, in directories of a thousand.
type many int

func (m many) stat(name string) (*file, error) {
	f := &file{mode: unix.S_IFREG | 0o644}
	if n := strings.Count(name, "/"); name == "" || n == 0 {
		f.mode = unix.S_IFDIR | 0o755
	}
	return f, nil
}

func (m many) list(name string) (names []string, err error) {
	n := 1000
	if name == "" {
		n = int(m) / 1000
	}
	for i := range n {
		names = append(names, fmt.Sprintf("name%06d", i))
	}
	return names, nil
}

func (m many) open(string) (io.ReadCloser, error)    { return io.NopCloser(strings.NewReader("")), nil }
func (m many) sum(p string, _ *file) (string, error) { return sumOf(m, p) }

// TestFilesTakeNoMemory: whatever their number, neither what is copied nor what is remembered of a
// context is in memory. A structure that has an entry for each file takes a hundred bytes of each.
func TestFilesTakeNoMemory(t *testing.T) {
	small(t, 64<<10)
	s := imagetest.NewStore(t)
	const files = 50_000
	var kept []any
	used := func(do func()) int64 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		do()
		runtime.GC()
		runtime.ReadMemStats(&after)
		return int64(after.HeapAlloc) - int64(before.HeapAlloc)
	}
	limit := func(what string, bytes int64) {
		t.Helper()
		t.Logf("%s: %d bytes for each file", what, bytes/files)
		if bytes > 10*files {
			t.Errorf("%s: %d bytes for each file are in memory", what, bytes/files)
		}
	}
	limit("a copy", used(func() {
		d := newDelta(treeOf(), s.Path("tmp"))
		t.Cleanup(d.close)
		if err := d.copy(many(files), &dockerfile.Instruction{Name: "copy", Copy: &dockerfile.Copy{Sources: []string{"."}, Dest: "/x"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := d.digest(); err != nil {
			t.Fatal(err)
		}
		if err := d.write(io.Discard); err != nil {
			t.Fatal(err)
		}
		kept = append(kept, d)
	}))
	sum := strings.Repeat("5", 64)
	name := func(i int) string { return fmt.Sprintf("d%d/name%d", i%300, i) }
	limit("what is learned", used(func() {
		m := newMemory(s, "x")
		t.Cleanup(m.close)
		for i := range files {
			m.learn(name(i), version{size: int64(i)}, sum)
		}
		m.remember()
		kept = append(kept, m)
	}))
	limit("what is remembered", used(func() {
		m := newMemory(s, "x")
		t.Cleanup(m.close)
		for i := range files / 100 {
			if v, got := m.recall(name(i)); v.size != int64(i) || got != sum {
				t.Fatalf("of file %d it is remembered that it is %s of %d bytes", i, got, v.size)
			}
		}
		kept = append(kept, m)
	}))
	limit("what .dockerignore says", used(func() {
		c := newContext("x", many(files))
		if err := c.Ignore(strings.NewReader("*.o\n**/y\n!z\n")); err != nil {
			t.Fatal(err)
		}
		for i := range files {
			if c.hidden(fmt.Sprintf("d%d/e/name", i)) {
				t.Fatal("it is hidden")
			}
		}
		kept = append(kept, c)
	}))
	runtime.KeepAlive(kept)
}

// TestWhatIsLearnedComesBeforeWhatIsOld, and the rest stays.
func TestWhatIsLearnedComesBeforeWhatIsOld(t *testing.T) {
	small(t, 100)
	s := imagetest.NewStore(t)
	for round, sum := range []string{"one", "two", "three"} {
		m := newMemory(s, "dir")
		for i := range 1000 {
			if i%(round+1) == 0 {
				m.learn(fmt.Sprint(i), version{ino: 7}, sum)
			}
		}
		m.remember()
		m.close()
	}
	m := newMemory(s, "dir")
	defer m.close()
	for i := range 1000 {
		want := "one"
		if i%2 == 0 {
			want = "two"
		}
		if i%3 == 0 {
			want = "three"
		}
		if v, sum := m.recall(fmt.Sprint(i)); sum != want || v.ino != 7 {
			t.Fatalf("%d: %q, not %q", i, sum, want)
		}
	}
	for _, none := range []string{"", "1000", "zzz", "5/x"} {
		if v, sum := m.recall(none); v != (version{}) || sum != "" {
			t.Errorf("%q: %s", none, sum)
		}
	}
	if err := os.WriteFile(m.path, []byte("damaged, whatever it was"), 0o600); err != nil {
		t.Fatal(err)
	}
	worse := newMemory(s, "dir")
	defer worse.close()
	if v, sum := worse.recall("0"); v != (version{}) || sum != "" {
		t.Errorf("of what is damaged there is %s", sum)
	}
}

// TestNamesOfOneFile stay that: the first is digested and written, the others lead to it.
func TestNamesOfOneFile(t *testing.T) {
	small(t, 10)
	from := treeOf("d/", "d/a", "d/b", "d/c")
	for _, n := range []string{"d/a", "d/c"} {
		from[n] = &file{mode: unix.S_IFREG | 0o600, size: 3, linked: true, inode: inode{1, 2}}
	}
	d := newDelta(treeOf(), t.TempDir())
	defer d.close()
	err := d.copy(from, &dockerfile.Instruction{Name: "copy", Copy: &dockerfile.Copy{Sources: []string{"d"}, Dest: "/x"}})
	if err == nil {
		_, err = d.digest()
	}
	got := ""
	if err == nil {
		err = d.read(func(p string, e *entry) error { got += fmt.Sprintf(" %s %q", p, e.first); return nil })
	}
	if want := ` x "" x/a "" x/b "" x/c "x/a"`; err != nil || got != want {
		t.Errorf("there is%s, %v; want%s", got, err, want)
	}
}
