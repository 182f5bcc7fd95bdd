package cli_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestAStoreThatChangesUnderAContainer changes the files of the own store and of an additional one
// at random while a container reads and writes what is in its image. It may see errors and never
// something else, it can be removed, and a file beside the stores stays as it is. What the server
// does with a million changes is tested in fs.
func TestAStoreThatChangesUnderAContainer(t *testing.T) {
	dir := t.TempDir()
	k := &killer{t: t, p: person{uid: os.Getuid(), gid: os.Getgid()}, store: terminalStore(t)}
	canary := filepath.Join(dir, "canary")
	if err := os.WriteFile(canary, []byte("my own"), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := &killer{t: t, p: k.p, store: filepath.Join(dir, "theirs")}
	const fill = `mkdir /data; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30; do
		yes "file $i" | head -n 9000 >/data/$i; ln /data/$i /data/hard$i; done`
	theirs.tiffin("run", "--name", "chef", "tiffin/base", "sh", "-c", fill)
	theirs.tiffin("commit", "chef", "course/data")
	theirs.tiffin("rm", "chef")
	t.Setenv("TIFFIN_IMAGE_PATH", theirs.store)
	k.tiffin("run", "--rm", "course/data", "true") // the own store makes its tables
	files := storeFiles(t, k.store, theirs.store)
	// A line per file that is read: with all of it, wrong, or an error; grep itself may be hit.
	const use = `echo ready; read go; cd /data; for i in [0-9]*; do
		n=$(grep -c "^file $i$" $i 2>/dev/null); case $? in 0 | 1) [ "$n" = 9000 ] && echo right || echo "WRONG $i $n";; *) echo error;; esac
		chmod 600 hard$i 2>/dev/null; echo more 2>/dev/null >>hard$i; mv $i moved$i 2>/dev/null; done; echo done`
	seen := map[string]int{}
	for round := range 6 {
		r := rand.New(rand.NewPCG(uint64(round), 1))
		for name, b := range files {
			if err := errors.Join(os.RemoveAll(name), os.WriteFile(name, b, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		cmd := k.command("run", "-i", "--name", "box", "course/data", "sh", "-c", use)
		in, err := cmd.StdinPipe()
		stdout, err2 := cmd.StdoutPipe()
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		if err = errors.Join(err, err2, cmd.Start()); err != nil {
			t.Fatal(err)
		}
		out := bufio.NewReader(stdout)
		if line, err := out.ReadString('\n'); err != nil || line != "ready\n" {
			cmd.Wait()
			t.Fatalf("round %d: %q %v %s", round, line, err, stderr.String())
		}
		if _, err := in.Write([]byte("go\n")); err != nil {
			t.Fatal(err)
		}
		ended, changes := make(chan bool), sync.WaitGroup{}
		changes.Go(func() {
			names := make([]string, 0, len(files))
			for name := range files {
				names = append(names, name)
			}
			slices.Sort(names)
			for {
				select {
				case <-ended:
					return
				case <-time.After(time.Millisecond):
					spoil(r, names[r.IntN(len(names))], files)
				}
			}
		})
		stuck := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
		lines, _ := io.ReadAll(out)
		cmd.Wait()
		close(ended)
		changes.Wait()
		if !stuck.Stop() {
			t.Errorf("round %d: the container hangs", round)
		}
		rm := exec.Command("timeout", "-s", "KILL", "120", binary, "rm", "-f", "box")
		rm.Env = k.command().Env
		if b, err := rm.CombinedOutput(); err != nil {
			t.Errorf("round %d: rm -f: %v: %s", round, err, b)
		}
		for line := range strings.Lines(string(lines)) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			if seen[word]++; word == "WRONG" {
				t.Errorf("round %d: %s", round, line)
			}
		}
	}
	if b, err := os.ReadFile(canary); err != nil || string(b) != "my own" {
		t.Errorf("the file beside the store has %q: %v", b, err)
	}
	if t.Logf("lines: %v", seen); seen["right"] == 0 || seen["error"] == 0 {
		t.Error("an outcome has not occurred")
	}
	for name, b := range files {
		if err := errors.Join(os.RemoveAll(name), os.WriteFile(name, b, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// storeFiles are the derived files of stores, by path.
func storeFiles(t *testing.T, stores ...string) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	for _, store := range stores {
		for _, pattern := range []string{"layers/*/*", "unions/*"} {
			names, _ := filepath.Glob(filepath.Join(store, pattern))
			for _, name := range names {
				b, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if len(b) > 0 {
					files[name] = b
				}
			}
		}
	}
	return files
}

// spoil changes a file in place, or puts it right.
func spoil(r *rand.Rand, name string, files map[string][]byte) {
	f, err := os.OpenFile(name, os.O_WRONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	defer f.Close()
	was := files[name]
	switch k := r.IntN(20); {
	case k == 0:
		f.Truncate(int64(r.IntN(len(was))))
	case k == 1:
		os.Remove(name)
		syscall.Mkfifo(name, 0o600)
	case k < 10:
		f.WriteAt(was, 0)
	default:
		for range 20 {
			f.WriteAt([]byte("../../canary")[:1+r.IntN(12)], int64(r.IntN(len(was))))
		}
	}
}
