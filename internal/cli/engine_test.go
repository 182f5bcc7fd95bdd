package cli_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"tiffin/internal/shell"
	"tiffin/internal/test/must"
)

// Inside containers of other engines, which an ordinary user has started, with what the book says
// that they have to give: chapter 3, "Inside another container".

// guest is what is done there. Its standard output is lived.
const guest = `tiffin doctor > /dev/null && echo fit
tiffin run --name inner tiffin/base sh -c 'echo menu > /etc/menu; id -u'
tiffin inspect -f '{{.GraphDriver.Name}}' inner
tiffin run -d --name tea tiffin/base sleep 100 > /dev/null; tiffin exec tea echo exec; tiffin cp tea:/etc/passwd - | tar -tf -; tiffin rm -f tea
echo $(tiffin diff inner); tiffin commit inner new:1 > /dev/null; tiffin run --rm new:1 cat /etc/menu`

const lived = "fit\n0\n%s\nexec\npasswd\ntea\nC /etc A /etc/menu\nmenu\n"

func TestInsideOtherEngines(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can hide control groups that crun and podman do not take, for the users that this is about")
	}
	for _, engine := range []struct {
		name, flags string
		driver      string
	}{
		{"podman", "", "overlay"}, {"podman", "--device /dev/fuse --security-opt seccomp=unconfined --security-opt unmask=ALL", "fuse"},
		{"crun", "CAP_SETFCAP", "overlay"}, {"runc", "CAP_SETFCAP", "overlay"},
	} {
		for _, p := range everybody(t) {
			if p.uid == 0 || engine.name == "podman" && p.name == "nobody-in-particular" {
				continue // podman wants subordinate ids
			}
			t.Run(engine.name+engine.flags+"/"+p.name, func(t *testing.T) {
				must.Tool(t, engine.name)
				b := newBench(t, p)
				out, stderr, err := b.without(noHybrid, b.container(engine.name, engine.flags, guest))
				if want := fmt.Sprintf(lived, engine.driver); err != nil || out != want {
					t.Errorf("%v\n%sinstead of\n%s%s", err, out, want, stderr)
				}
			})
		}
	}
}

// TestRootWithoutTheRightToMapRoot: crun and runc leave that out.
func TestRootWithoutTheRightToMapRoot(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("as TestInsideOtherEngines")
	}
	ps := everybody(t)
	must.Tool(t, "runc")
	b := newBench(t, ps[len(ps)-1])
	out, stderr, err := b.without(noHybrid, b.container("runc", "", "tiffin doctor | grep -c CAP_SETFCAP; tiffin run --rm tiffin/base true"))
	if err == nil || out != "2\n" || !strings.Contains(stderr, "you are root without CAP_SETFCAP") {
		t.Errorf("%v\n%s%s", err, out, stderr)
	}
}

// noHybrid hides the hierarchy of version 2 beside those of version 1, which crun does not take.
const noHybrid = "umount /sys/fs/cgroup/unified 2> /dev/null || true"

// container returns the shell command that runs another one in a container of an engine.
func (b *bench) container(engine, flag, script string) string {
	root, program := filepath.Join(b.dir, "bundle", "rootfs"), filepath.Join(b.dir, "tiffin")
	if _, err := os.Stat(root); err != nil {
		b.unpackBase(root, program)
	}
	home := fmt.Sprintf("cd '%s'; export HOME=$PWD/home XDG_RUNTIME_DIR=$PWD/xdg CONTAINERS_CONF=$PWD/containers.conf; ", b.dir)
	if engine == "podman" {
		return home + fmt.Sprintf("exec podman --log-level error run --rm --network none %s -v %s:/bin/tiffin:ro -e HOME=/root -e PATH=/bin --rootfs %s sh -c %s", flag, program, root, shell.Word(script))
	}
	var spec map[string]any
	cmd := exec.Command(engine, "spec", "--rootless")
	cmd.Dir, cmd.SysProcAttr = filepath.Dir(root), b.p.attr()
	file := filepath.Join(cmd.Dir, "config.json")
	os.Remove(file)
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.t.Fatalf("%s spec: %v\n%s", engine, err, out)
	}
	text, err := os.ReadFile(file)
	if err = errors.Join(err, json.Unmarshal(text, &spec)); err != nil {
		b.t.Fatal(err)
	}
	process := spec["process"].(map[string]any)
	process["terminal"], process["env"], process["args"] = false, []string{"PATH=/bin", "HOME=/root"}, []string{"sh", "-c", script}
	if flag != "" {
		for set, list := range process["capabilities"].(map[string]any) {
			process["capabilities"].(map[string]any)[set] = append(list.([]any), flag)
		}
	}
	spec["root"] = map[string]any{"path": "rootfs"}
	spec["mounts"] = append(spec["mounts"].([]any), map[string]any{"destination": "/bin/tiffin", "source": program, "type": "bind", "options": []string{"bind", "ro"}})
	text, err = json.Marshal(spec)
	if err = errors.Join(err, os.WriteFile(file, text, 0o644)); err != nil {
		b.t.Fatal(err)
	}
	manager := ""
	if engine == "crun" {
		manager = "--cgroup-manager=disabled"
	}
	return home + fmt.Sprintf("cd bundle; exec %s %s run %s", engine, manager, filepath.Base(b.dir))
}

// unpackBase makes a root file system, the program, and directories of an engine.
func (b *bench) unpackBase(root, program string) {
	b.t.Helper()
	self, err := os.ReadFile(binary)
	if err = errors.Join(err, os.WriteFile(program, self, 0o755)); err != nil {
		b.t.Fatal(err)
	}
	script := fmt.Sprintf(`set -e; cd '%s'; mkdir -p '%s/root' home xdg
printf '[containers]\ncgroups = "disabled"\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' > containers.conf
"$TIFFIN" create --name base tiffin/base true > /dev/null; "$TIFFIN" export base | tar -C '%[2]s' -xf -; "$TIFFIN" rm base > /dev/null`, b.dir, root)
	if out, stderr, err := b.without(":", script); err != nil {
		b.t.Fatalf("%v\n%s%s", err, out, stderr)
	}
}
