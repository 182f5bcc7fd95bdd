package token

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func serving(t *testing.T, addr string) *Token {
	t.Helper()
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	own, err := New(tcp)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(own.Close)
	return own
}

func TestFind(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	own := serving(t, "127.0.0.1:5000")
	six, all := serving(t, "[::1]:5001"), serving(t, "[::]:5002")
	for name, want := range map[string]*Token{
		"127.0.0.1:5000": own, "localhost:5000": own, "localhost:5001": six, "[::1]:5001": six, "127.0.0.1:5002": all, "localhost:5002": all,
		"[::1]:5000": nil, "127.0.0.1:5001": nil, "127.0.0.1:5009": nil, "localhost": nil, "example.org:5000": nil, "..:5000": nil, "": nil,
	} {
		got, ok := Find(name)
		if ok != (want != nil) || ok && (got.Secret != want.Secret || got.Addr != want.Addr) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, ok, want)
		}
	}
	if own.Secret == six.Secret || len(own.Secret) < 20 {
		t.Errorf("secrets %q and %q", own.Secret, six.Secret)
	}
	own.Close()
	if _, ok := Find("127.0.0.1:5000"); ok {
		t.Error("the token of a server that has ended is found")
	}
	if _, err := os.Lstat(own.File()); err == nil {
		t.Error("its file is still there")
	}
}

// TestOnlyThisUserReadsIt: neither the file nor its directory is open to others, whatever the
// umask.
func TestOnlyThisUserReadsIt(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("XDG_STATE_HOME", dir)
	own := serving(t, "127.0.0.1:5000")
	for path := own.File(); path != dir; path = filepath.Dir(path) {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	for name, spoil := range map[string]func(string) error{
		"readable": func(f string) error { return os.Chmod(f, 0o640) },
		"a link": func(f string) error {
			if err := os.Rename(f, f+".real"); err != nil {
				return err
			}
			return os.Symlink(f+".real", f)
		},
	} {
		own := serving(t, "127.0.0.1:5001")
		if _, ok := Find("127.0.0.1:5001"); !ok {
			t.Fatal("not found before")
		}
		if err := spoil(own.File()); err != nil {
			t.Fatal(err)
		}
		if _, ok := Find("127.0.0.1:5001"); ok {
			t.Errorf("a file that is %s is believed", name)
		}
		own.Close()
	}
}

// TestKilledServer: its port may be another user's by now, who must not be sent its token.
func TestKilledServer(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	killed := serving(t, "127.0.0.1:5000")
	killed.file.Close() // as exit does
	if _, ok := Find("127.0.0.1:5000"); ok {
		t.Error("the token of a killed server is found")
	}
	if _, err := os.Stat(killed.File()); err != nil {
		t.Fatal(err) // what follows would show nothing
	}
	serving(t, "127.0.0.1:5001")
	if _, err := os.Stat(killed.File()); err == nil {
		t.Error("the next server has not deleted it")
	}
}
