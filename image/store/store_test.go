package store

import (
	"os"
	"strings"
	"testing"

	"tiffin/internal/errs"
)

func TestADirectoryOfSomebodyElseIsRefused(t *testing.T) {
	dir := "/"
	if os.Getuid() == 0 {
		dir = t.TempDir()
		if err := os.Chown(dir, 4711, 4711); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Open(dir)
	if err == nil || !strings.Contains(err.Error(), dir+" belongs to another user") || !strings.HasPrefix(errs.HintOf(err), "set TIFFIN_ROOT to a directory of your own") {
		t.Errorf("%v, hint: %s", err, errs.HintOf(err))
	}
	if list, err := os.ReadDir(dir); os.Getuid() == 0 && len(list) != 0 {
		t.Errorf("made there: %v, %v", list, err)
	}
}

func TestADirectoryWhereAllMayWriteIsRefused(t *testing.T) {
	dir := t.TempDir()
	for mode, refused := range map[os.FileMode]bool{0o777: true, os.ModeSticky | 0o777: true, 0o775: false, 0o700: false} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		if refused != (err != nil) || refused && (!strings.Contains(err.Error(), "everybody may write to "+dir) || errs.HintOf(err) != "chmod o-w "+dir) {
			t.Errorf("mode %v: %v, hint: %s", mode, err, errs.HintOf(err))
		}
	}
}
