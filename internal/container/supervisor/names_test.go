package supervisor

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/control"
)

// TestRewriteFile: a file gets its new text if it has the old one. Whatever the container has put
// in its place is left alone, and no link leads out of its root.
func TestRewriteFile(t *testing.T) {
	host := t.TempDir()
	root := filepath.Join(host, "root")
	outside := filepath.Join(host, "resolv.conf")
	const was, is = "nameserver 10.89.0.1\n", "nameserver 10.89.0.1\nnameserver 10.89.1.1\n"
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	link := func(to string) func(string) error { return func(at string) error { return os.Symlink(to, at) } }
	for name, e := range map[string]struct {
		make func(at string) error
		ok   bool
	}{
		"as it was":            {func(at string) error { return os.WriteFile(at, []byte(was), 0o644) }, true},
		"longer":               {func(at string) error { return os.WriteFile(at, []byte(was+"#"), 0o644) }, false},
		"shorter":              {func(at string) error { return os.WriteFile(at, []byte(was[1:]), 0o644) }, false},
		"not there":            {func(string) error { return nil }, false},
		"a directory":          {func(at string) error { return os.Mkdir(at, 0o755) }, false},
		"a fifo":               {func(at string) error { return unix.Mkfifo(at, 0o644) }, false},
		"a link out, upwards":  {link("../../resolv.conf"), false},
		"a link out, absolute": {link(outside), false},
		"a link out of /proc":  {link("/proc/self/root" + outside), false},
		"a link inside":        {link("/etc/inside"), true},
	} {
		if err := os.RemoveAll(root); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(root, "etc"), 0o755); err != nil {
			t.Fatal(err)
		}
		write(outside, was)
		write(filepath.Join(root, "etc/inside"), was)
		at := filepath.Join(root, "etc/resolv.conf")
		if err := e.make(at); err != nil {
			t.Fatal(err)
		}
		dir, err := os.Open(root)
		if err != nil {
			t.Fatal(err)
		}
		err = rewriteFile(int(dir.Fd()), control.Rewrite{Path: "/etc/resolv.conf", Old: was, New: is})
		dir.Close()
		if (err == nil) != e.ok {
			t.Errorf("%s: %v", name, err)
		}
		if text, _ := os.ReadFile(outside); string(text) != was {
			t.Errorf("%s: a file outside has %q", name, text)
		}
		if name != "as it was" {
			continue
		}
		if text, _ := os.ReadFile(at); string(text) != is {
			t.Errorf("%s: the text is %q", name, text)
		}
	}
	// A shorter text leaves nothing of the longer one.
	at := filepath.Join(root, "etc/short")
	write(at, is)
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if err := rewriteFile(int(dir.Fd()), control.Rewrite{Path: "/etc/short", Old: is, New: was}); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(at); string(text) != was {
		t.Errorf("the text is %q", text)
	}
}
