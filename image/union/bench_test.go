package union

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"

	"tiffin/image/layer"
	tt "tiffin/internal/test/tartest"
)

// bigTar is a tarball of 500 directories with 100 files each, and small is a
// layer that changes one file in each of ten directories.
func bigTar(b *testing.B) (big, small []byte) {
	var es, few []tt.Entry
	for d := range 500 {
		es = append(es, tt.Dir(fmt.Sprintf("usr/share/d%03d", d)))
		for f := range 100 {
			es = append(es, tt.File(fmt.Sprintf("usr/share/d%03d/some-file-name-%03d", d, f), ""))
		}
		if d < 10 {
			few = append(few, tt.File(fmt.Sprintf("usr/share/d%03d/some-file-name-000", d), "changed"))
		}
	}
	return tt.Of(b, es...), tt.Of(b, few...)
}

func mustScan(b *testing.B, tar []byte) *layer.Tree {
	t, err := layer.Scan(bytes.NewReader(tar))
	if err != nil {
		b.Fatal(err)
	}
	return t
}

func BenchmarkScan50000Files(b *testing.B) {
	big, _ := bigTar(b)
	b.SetBytes(int64(len(big)))
	b.ReportAllocs()
	for b.Loop() {
		mustScan(b, big)
	}
}

func BenchmarkEncode50000Files(b *testing.B) {
	big, _ := bigTar(b)
	t := mustScan(b, big)
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(t.Encode())))
	}
}

func BenchmarkMergeTenFilesOver50000(b *testing.B) {
	big, small := bigTar(b)
	lower, err := Merge(nil, mustScan(b, big), 0)
	if err != nil {
		b.Fatal(err)
	}
	upper := mustScan(b, small)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Merge(lower, upper, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMerge50000Over50000(b *testing.B) {
	big, _ := bigTar(b)
	lower, err := Merge(nil, mustScan(b, big), 0)
	if err != nil {
		b.Fatal(err)
	}
	upper := mustScan(b, big)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Merge(lower, upper, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func bigIndex(b *testing.B) string {
	big, _ := bigTar(b)
	file := filepath.Join(b.TempDir(), "index")
	if err := mustScan(b, big).WriteFile(file); err != nil {
		b.Fatal(err)
	}
	return file
}

func BenchmarkOpenIndex50000Files(b *testing.B) {
	file := bigIndex(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := layer.OpenIndex(file); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkIndexTree50000Files(b *testing.B) {
	x, err := layer.OpenIndex(bigIndex(b))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		x.Tree()
	}
}

func BenchmarkFindInDirectoryOf100(b *testing.B) {
	x, err := layer.OpenIndex(bigIndex(b))
	if err != nil {
		b.Fatal(err)
	}
	dir, _ := x.Find("usr/share/d250")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := x.Lookup(dir, "some-file-name-077"); !ok {
			b.Fatal("not found")
		}
	}
}
