// What a service has mounted besides its image: volumes, directories of the person's, file systems
// in memory, and files that are called configs and secrets.

package parser

import (
	"cmp"
	"fmt"
	"path"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"
)

func (t *translation) volumes() {
	for i, v := range t.config.Volumes {
		at := fmt.Sprintf("volumes.%d", i)
		switch v.Type {
		case types.VolumeTypeBind:
			if v.Bind != nil && v.Bind.Propagation != "" && !strings.HasSuffix(v.Bind.Propagation, "private") {
				t.refuse(at, "mounts are private here, not %s", v.Bind.Propagation)
			}
			if v.Bind == nil || bool(v.Bind.CreateHostPath) {
				t.out.Dirs = append(t.out.Dirs, v.Source)
			}
			t.mount(at, v.Source, v.Target, v.ReadOnly, false)
		case types.VolumeTypeTmpfs:
			var options []string
			if v.Tmpfs != nil && v.Tmpfs.Size > 0 {
				options = append(options, fmt.Sprintf("size=%d", v.Tmpfs.Size))
			}
			if v.Tmpfs != nil && v.Tmpfs.Mode > 0 {
				options = append(options, fmt.Sprintf("mode=%o", v.Tmpfs.Mode))
			}
			if v.ReadOnly {
				options = append(options, "ro")
			}
			t.flag("tmpfs", v.Target+":"+strings.Join(options, ","))
		case types.VolumeTypeVolume:
			if v.Source == "" {
				t.flag("mount", "type=volume,target="+v.Target)
				continue
			}
			t.mount(at, t.project.Volumes[v.Source].Name, v.Target, v.ReadOnly, v.Volume != nil && v.Volume.NoCopy)
		default:
			t.refuse(at, "a volume of type %q is not known here", v.Type)
		}
	}
	t.list("tmpfs", t.config.Tmpfs)
	for _, from := range t.config.VolumesFrom {
		name, mode, _ := strings.Cut(from, ":")
		if name == "container" {
			name, mode, _ = strings.Cut(mode, ":")
		} else {
			name = containerName(t.project, t.project.Services[name]) // the library has looked whether it is there
		}
		t.flag("volumes-from", strings.TrimSuffix(name+":"+mode, ":"))
	}
	for i, c := range t.config.Configs {
		t.file(fmt.Sprintf("configs.%d", i), t.project.Configs[c.Source].File, cmp.Or(c.Target, "/"+c.Source), "/")
	}
	for i, s := range t.config.Secrets {
		t.file(fmt.Sprintf("secrets.%d", i), t.project.Secrets[s.Source].File, cmp.Or(s.Target, s.Source), "/run/secrets")
	}
}

// mount adds a volume or a directory.
func (t *translation) mount(at, source, target string, readOnly, noCopy bool) {
	if strings.Contains(source+target, ":") {
		t.refuse(at, "a path with a colon in it cannot be named")
	}
	var options []string
	if readOnly {
		options = append(options, "ro")
	}
	if noCopy {
		options = append(options, "nocopy")
	}
	mount := strings.TrimSuffix(source+":"+target+":"+strings.Join(options, ","), ":")
	t.flag("volume", mount)
}

// file shows a file of the person's, in dir if the target is relative.
func (t *translation) file(at, source, target, dir string) {
	if source == "" {
		t.refuse(at, "it has no file")
		return
	}
	if !path.IsAbs(target) {
		target = path.Join(dir, target)
	}
	t.mount(at, source, target, true, false)
}
