package tartest_test

import (
	"archive/tar"
	"bytes"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"tiffin/internal/test/must"
	. "tiffin/internal/test/tartest"
)

func TestEntriesReadBackAsTheyWereWritten(t *testing.T) {
	long := strings.Repeat("n", 120)
	b := Of(t,
		Dir("a", Mode(0o1777)),
		File("a/f", "hello", Owner(1000, 3_000_000), Mtime(12, 500), Xattr("user.k", "v=\n")),
		Symlink("l", "a/f"), Hardlink("h", "a/f"),
		Char("null", 1, 3), Block("sda", 8, 0), Fifo("p"),
		Whiteout("a/gone"), Opaque("a/"), Whiteout("top"),
		File(long, "x"), File(long+"g", "y", GNU(), Owner(1<<30, 0)), Symlink("g", long, GNU()),
		File("suid", "", Mode(0o4750)), File("old", "", Mtime(-2, 500_000_000)))
	want := []string{
		`drwxrwxrwt 0:0 0 a/`,
		`-rw-r--r-- 1000:3000000 5 a/f user.k="v=\n" = "hello" @12.000000500`,
		`lrwxrwxrwx 0:0 0 l -> a/f`,
		`hrw-r--r-- 0:0 0 h -> a/f`,
		`crw-r--r-- 0:0 1,3 null`,
		`brw-r--r-- 0:0 8,0 sda`,
		`prw-r--r-- 0:0 0 p`,
		`-rw-r--r-- 0:0 0 a/.wh.gone`,
		`-rw-r--r-- 0:0 0 a/.wh..wh..opq`,
		`-rw-r--r-- 0:0 0 .wh.top`,
		`-rw-r--r-- 0:0 1 ` + long + ` = "x"`,
		`-rw-r--r-- 1073741824:0 1 ` + long + `g = "y"`,
		`lrwxrwxrwx 0:0 0 g -> ` + long,
		`-rwsr-x--- 0:0 0 suid`,
		`-rw-r--r-- 0:0 0 old @-2.500000000`,
	}
	if got := List(t, b); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSparseFilesReadBackInEveryFormat(t *testing.T) {
	many := []Piece{}
	for i := range int64(60) {
		many = append(many, Piece{i * 8192, strings.Repeat(string(rune('a'+i%26)), 512)})
	}
	for _, pieces := range [][]Piece{{{0, strings.Repeat("s", 512)}, {4096, "middle"}}, {{100_000 - 3, "end"}}, {}, many} {
		size := int64(600_000)
		if len(pieces) == 1 {
			size = 100_000
		}
		want := Content(size, pieces)
		for i, e := range []Entry{SparseOld("s", size, pieces), Sparse00("s", size, pieces), Sparse01("s", size, pieces), Sparse10("s", size, pieces)} {
			b := Of(t, e, File("after", "z"))
			r := tar.NewReader(bytes.NewReader(b))
			h, err := r.Next()
			if err != nil {
				t.Fatalf("format %d with %d pieces: %v", i, len(pieces), err)
			}
			if data, err := io.ReadAll(r); err != nil || string(data) != want || h.Name != "s" {
				t.Errorf("format %d with %d pieces: %q, %d bytes, %v", i, len(pieces), h.Name, len(data), err)
			}
			tarProgram, err := exec.LookPath("tar") // a second opinion where there is one
			if err != nil && must.Have("") {
				t.Errorf("TIFFIN_MUST is set, but there is no second opinion: %v", err)
			}
			if err == nil {
				cmd := exec.Command(tarProgram, "-xOf-", "s")
				cmd.Stdin = bytes.NewReader(b)
				if out, err := cmd.CombinedOutput(); err != nil || string(out) != want {
					t.Errorf("tar(1): format %d with %d pieces: %d bytes, %v", i, len(pieces), len(out), err)
				}
			}
		}
	}
}
