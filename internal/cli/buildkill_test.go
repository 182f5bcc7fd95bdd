// Builds that end before their end, and builds of different people.

package cli_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const killedBuild = `FROM tiffin/base AS a
COPY menu /menu
RUN --mount=type=cache,target=/c sleep 0.02; cat /menu >/a
FROM tiffin/base AS b
RUN sleep 0.03; echo b >/b
FROM a
WORKDIR /w
COPY --from=b /b /w/
RUN cat /a /w/b >/w/all
`

// context makes a directory that p can read, with a Dockerfile and a file.
func (k *killer) context(dockerfile string) string {
	k.t.Helper()
	dir := filepath.Join(filepath.Dir(k.store), "context")
	if err := os.Mkdir(dir, 0o755); err != nil {
		k.t.Fatal(err)
	}
	for name, text := range map[string]string{"Dockerfile": dockerfile, "menu": "rice\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			k.t.Fatal(err)
		}
	}
	return dir
}

// TestABuildThatEndsAtAnyMomentLeavesNothing: killed, or told to end, after a while that is spread
// over the time that it takes. The next one is right, and there is nothing left but layers.
func TestABuildThatEndsAtAnyMomentLeavesNothing(t *testing.T) {
	const points = 12
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			k := newKiller(t, p)
			dir := k.context(killedBuild)
			t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
			build := []string{"build", "-q", "--no-cache", dir}
			want := k.tiffin(build...)
			began := time.Now()
			k.tiffin(build...)
			took := time.Since(began)
			for i := range points {
				sig := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT}[i%3]
				cmd := k.command(build...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				after := took * time.Duration(i+1) / (points + 1)
				time.Sleep(after)
				_ = cmd.Process.Signal(sig) // it may have ended
				_ = cmd.Wait()
				status := cmd.ProcessState.ExitCode() // -1: by the signal itself
				if status > 0 && (status != 128+int(sig) || sig == syscall.SIGKILL) {
					t.Errorf("%v after %v: status %d", sig, after, status)
				}
				for end := time.Now().Add(time.Minute); len(supervisors(k.store)) > 0; time.Sleep(5 * time.Millisecond) {
					if time.Now().After(end) {
						t.Fatalf("%v after %v: a supervisor is left", sig, after)
					}
				}
				if got := k.tiffin("build", "-q", dir); got != want {
					t.Errorf("after %v after %v the image is %s, not %s", sig, after, got, want)
				}
				if left := k.swept(); left != "" {
					t.Errorf("%v after %v: there is still %s", sig, after, left)
				}
			}
			checkLeaks(t, k.store)
		})
	}
}

// TestAKilledBuildTakesItsCommandAlong, however long that would have run.
func TestAKilledBuildTakesItsCommandAlong(t *testing.T) {
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			k := newKiller(t, p)
			defer checkLeaks(t, k.store)
			dir := k.context("FROM tiffin/base AS a\nRUN true\nFROM a\nRUN sleep 1000\n")
			cmd := k.command("build", "-q", dir)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, func() bool { return strings.Contains(k.tiffin("ps", "--format", "{{.State}}"), "running") })
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			waitFor(t, func() bool { return len(supervisors(k.store)) == 0 })
			k.tiffin("build", "-q", "--target", "a", dir)
			if left := k.swept(); left != "" {
				t.Errorf("there is still %s", left)
			}
		})
	}
}

// swept is what is in the store besides layers when those who were killed have had their time.
func (k *killer) swept() string {
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		k.age()
		k.tiffin("ps", "-aq") // sweeps
		left := ""
		for _, d := range []string{"tmp/*", "containers/*/"} {
			found, _ := filepath.Glob(filepath.Join(k.store, d))
			left += strings.Join(found, " ")
		}
		if left == "" || time.Now().After(end) {
			return left
		}
	}
}

// TestAnImageIsTheSameWhoeverBuildsIt, and in which store, if SOURCE_DATE_EPOCH is.
func TestAnImageIsTheSameWhoeverBuildsIt(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
	by := map[string]string{}
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			k := newKiller(t, p)
			dir := k.context("FROM tiffin/base\nCOPY --chown=5:6 menu /m/\nRUN mkdir /d && cp /m/menu /d/x && chown 7:8 /d/x && ln /d/x /d/y && rm /etc/passwd\nENV A=b\n")
			for i, store := range []string{k.store, k.store + "2"} {
				k.store = store
				id := k.tiffin("build", "-q", "--rewrite-timestamp", dir)
				by[id] += " " + p.name
				if now := time.Now(); i == 0 {
					if err := os.Chtimes(filepath.Join(dir, "menu"), now, now); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
	if len(by) != 1 {
		t.Errorf("there are different images: %v", by)
	}
}
