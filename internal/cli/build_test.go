// The referee: what buildah makes of a Dockerfile is what tiffin makes of it, but for what is
// listed here with its reason. Nor is CMD after SHELL compared, which buildah 1.28 gives to
// /bin/sh: the reference has it with RUN and ENTRYPOINT under "SHELL".

package cli_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tiffin/internal/test/must"
)

// refereed are Dockerfiles on tiffin/base, each about some rules of the reference.
var refereed = map[string]string{
	"variables": `ARG X=5
ARG Y
ENV A=1 B="two words" C=$A-${B:-x} Z=$X$Y
ENV A=2 E=${A} W=env
ARG W=arg
ENV GREETING hello   world
LABEL a="1 2" b=$X
RUN echo "$A|$B|$C|$E|$X $Y $Z|$W|$GREETING" >/x`,
	"user and directory": `WORKDIR /a
WORKDIR b/c
RUN pwd >pwd && echo $PWD >>pwd && echo "u:x:7:8::/:/bin/sh" >>/etc/passwd
USER u
WORKDIR /w
RUN id -u >/w/id`,
	"cmd is reset": "CMD [\"a\"]\nENTRYPOINT [\"b\", \"$HOME\"]",
	"cmd is kept":  "ENTRYPOINT [\"b\"]\nCMD a $HOME",
	"shell":        "SHELL [\"/bin/sh\", \"-ec\"]\nRUN echo one >/x; true\nRUN [\"sh\", \"-c\", \"echo $0 >/y\", \"zero\"]",
	"config":       "EXPOSE 80 443/udp\nVOLUME /v /w\nVOLUME [\"/x y\"]\nSTOPSIGNAL SIGINT\nUSER 5:6\nLABEL x=y",
	"where files go": `COPY f /file
COPY f /into/
COPY f /p/q/deep
COPY d /dir
COPY d e /dirs/
COPY d /etc/
COPY d/*.txt /glob/
COPY l /link1
COPY d/l /link2
COPY . /all
WORKDIR /w
COPY f d ./`,
	"what is there": `RUN mkdir -m 700 /e && chmod 1777 /tmp && mkdir /real && ln -s /real /alias && echo old >/f && ln -s /f /g
COPY d /e
COPY f /tmp/
COPY f /alias/
COPY d /alias/deep
COPY f /f`,
	"owners and modes": `RUN echo "u:x:7:8::/:/bin/sh" >>/etc/passwd && echo "g:x:9:" >>/etc/group
COPY --chown=5:6 d /own
COPY --chown=u f /u
COPY --chown=u:g f /g
COPY --chmod=0751 f /m`,
	"stages": `RUN echo made >/made && chown 3:4 /made
FROM docker.io/tiffin/base
COPY --from=0 /made /bin/sh /from/`,
	"archives": "ADD a.tgz /un\nADD f /un/\nCOPY a.tgz /packed",
	"deleted":  "COPY d /x\nRUN rm /x/one.txt && mv /x/sub /x/moved",
}

// TestBuildAsBuildahDoes compares trees, owners, modes and configs. buildah's storage needs root
// here.
func TestBuildAsBuildahDoes(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("buildah's storage is root's here")
	}
	buildah := must.Tool(t, "buildah")
	dir := t.TempDir()
	t.Setenv("TIFFIN_ROOT", filepath.Join(dir, "store"))
	sh := func(script string) string {
		t.Helper()
		cmd := exec.Command("sh", "-ec", script)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
		var said bytes.Buffer
		cmd.Stderr = &said
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v\n%s", script, err, said.String())
		}
		return strings.TrimSpace(string(out))
	}
	store := fmt.Sprintf("%s --root %s/r --runroot %s/rr --storage-driver vfs", buildah, dir, dir)
	sh(`mkdir -p ctx/d/sub ctx/e ctx/skip && cd ctx && echo f >f && chmod 640 f && echo 1 >d/one.txt && echo 2 >d/two.txt &&
		echo s >d/sub/s && chmod 711 d/sub && ln -s one.txt d/l && ln -s f l && echo e >e/e && echo x >skip/x && echo y >skip/y &&
		tar -czf a.tgz d f && printf 'skip/*\n!skip/y\n*.log\n' >.dockerignore && echo l >a.log`)
	sh(`tiffin copy tiffin/base oci-archive:base.tar:tiffin/base:latest && ` + store + ` pull -q oci-archive:base.tar`)
	for name, text := range refereed {
		t.Run(name, func(t *testing.T) {
			text = "FROM docker.io/tiffin/base\n" + text + "\n"
			if err := os.WriteFile(filepath.Join(dir, "D"), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
			ours := sh(`tiffin build -q -f D ctx`)
			sh(`rm -f out.tar && ` + store + ` bud -q --isolation chroot --format docker -f D -t theirs ctx >&2 && ` + store + ` push -q theirs docker-archive:out.tar:theirs:latest && tiffin load -q -i out.tar >&2`)
			a, b := listing(t, sh, ours), listing(t, sh, "theirs")
			for p, was := range b {
				if now := a[p]; now != was && !listed(p) {
					t.Errorf("%s: tiffin %q, buildah %q\n%s", p, now, was, text)
				}
			}
			for p, now := range a {
				if _, ok := b[p]; !ok && !listed(p) {
					t.Errorf("%s: tiffin %q, buildah nothing\n%s", p, now, text)
				}
			}
			if a, b := configOf(t, sh, ours), configOf(t, sh, "theirs"); !reflect.DeepEqual(a, b) {
				t.Errorf("config: tiffin %v, buildah %v\n%s", a, b, text)
			}
		})
	}
}

// listed are the paths that differ: buildah's chroot leaves what it mounts on, and the time of the
// directories does not count.
func listed(p string) bool {
	top, _, _ := strings.Cut(strings.Trim(p, "/"), "/")
	return top == "" || top == "dev" || top == "proc" || top == "sys" || top == "run" || p == "etc/hosts" || p == "etc/hostname" || p == "etc/resolv.conf"
}

// listing is all files of an image, by path.
func listing(t *testing.T, sh func(string) string, image string) map[string]string {
	t.Helper()
	sh(`tiffin create --name list ` + image + ` sh >&2 && tiffin export -o list.tar list && tiffin rm list >&2`)
	f, err := os.Open(sh(`pwd`) + "/list.tar")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	all := map[string]string{}
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, r); err != nil {
			t.Fatal(err)
		}
		all[strings.Trim(h.Name, "/")] = fmt.Sprintf("%c %o %d:%d %s %x", h.Typeflag, h.Mode&0o7777, h.Uid, h.Gid, h.Linkname, sum.Sum(nil)[:4])
	}
}

// configOf is what an image says of a container.
func configOf(t *testing.T, sh func(string) string, image string) map[string]any {
	t.Helper()
	var all []struct{ Config map[string]any }
	if err := json.Unmarshal([]byte(sh(`tiffin inspect `+image)), &all); err != nil || len(all) != 1 {
		t.Fatalf("inspect: %v", err)
	}
	c := all[0].Config
	if labels, ok := c["Labels"].(map[string]any); ok {
		delete(labels, "io.buildah.version")
		if len(labels) == 0 {
			delete(c, "Labels")
		}
	}
	for k, v := range c {
		if r := reflect.ValueOf(v); v == nil || r.Kind() != reflect.Bool && r.Len() == 0 {
			delete(c, k)
		}
	}
	return c
}
