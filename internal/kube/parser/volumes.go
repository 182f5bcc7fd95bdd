// Volumes of a pod, and where its containers have them.

package parser

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"tiffin/internal/kube"
)

// volume is one of a pod's.
type volume struct {
	path     string         // in the spec
	source   string         // name of a volume of tiffin's, or directory of the person's
	memory   *kube.EmptyDir // a tmpfs, while one container alone mounts it
	contents *kube.Contents // nil: it is not made for the pod
	made     bool           // contents are in the plan
	readOnly bool
	dir      bool // source is made if it is not there
	mounted  int
}

// podmanName is a volume's that podman-kube-generate(1) has made of a path of this machine.
var podmanName = regexp.MustCompile(`^[-_a-zA-Z0-9]{1,1000}$`)

// volumes finds out what each volume is.
func (t *translation) volumes() {
	for i, v := range t.spec.Volumes {
		path := fmt.Sprintf("volumes[%d]", i)
		switch right := label.MatchString(v.Name) && len(v.Name) <= 63; {
		case t.vols[v.Name] != nil, !right && !(v.HostPath != nil && podmanName.MatchString(v.Name)):
			t.refuse(path+".name", "%q is no name of its own: small letters, digits and -, 63 at most", v.Name)
			continue
		case !right:
			t.remark(path+".name", "podman makes such a name of the path, and Kubernetes refuses it: small letters, digits and -, 63 at most")
		}
		// A dot is in no volume's name, so that no two pods have volumes of one name.
		known := &volume{path: path, source: t.out.Name + "." + v.Name}
		t.vols[v.Name] = known
		switch {
		case count(v.EmptyDir != nil, v.HostPath != nil, v.PersistentVolumeClaim != nil, v.ConfigMap != nil, v.Secret != nil) != 1:
			t.refuse(path, "it is to be one of emptyDir, hostPath, persistentVolumeClaim, configMap and secret")
		case v.EmptyDir != nil:
			t.empty(known, v.EmptyDir)
		case v.HostPath != nil:
			t.hostPath(known, v.HostPath)
		case v.PersistentVolumeClaim != nil:
			known.source, known.readOnly = v.PersistentVolumeClaim.ClaimName, v.PersistentVolumeClaim.ReadOnly
			if t.group() != nil && !slices.Contains(t.out.Shared, known.source) {
				t.out.Shared = append(t.out.Shared, known.source)
			}
			full := step(t.path, "spec") + "." + path + ".persistentVolumeClaim.claimName"
			t.claim(find(t.node, full), full, known.source)
		case v.ConfigMap != nil:
			t.files(known, path+".configMap", "ConfigMap", t.configs, v.ConfigMap)
		default:
			s := v.Secret
			t.files(known, path+".secret", "Secret", t.secrets, &kube.FilesOf{Name: s.SecretName, Items: s.Items, DefaultMode: s.DefaultMode, Optional: s.Optional})
		}
	}
}

// What a path, and a name in it, may have in bytes: path_resolution(7), "Length limit".
const longestPath, longestName = 4095, 255

// localPath tells whether a file can be there, below a directory.
func localPath(path string) bool {
	long := func(name string) bool { return len(name) > longestName }
	return filepath.IsLocal(path) && path == filepath.Clean(path) && path != "." && len(path) <= longestPath &&
		!slices.ContainsFunc(strings.Split(path, "/"), long)
}

// collide is a path that cannot be there with the others: one of them is the same, or below it.
func collide(files []kube.File) (path string, ok bool) {
	var all []string
	for _, f := range files {
		all = append(all, strings.ReplaceAll(f.Path, "/", "\x00")) // sorts before all others
	}
	slices.Sort(all)
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] || strings.HasPrefix(all[i], all[i-1]+"\x00") {
			return strings.ReplaceAll(all[i-1], "\x00", "/"), true
		}
	}
	return "", false
}

// empty is a directory that goes with the pod, or a file system in memory.
func (t *translation) empty(v *volume, e *kube.EmptyDir) {
	v.contents = &kube.Contents{Name: v.source, Shared: true}
	if e.SizeLimit != "" {
		if _, ok := quantityOf(string(e.SizeLimit)); !ok {
			t.refuse(v.path+".emptyDir.sizeLimit", "%q is no quantity above 0, such as 64Mi", e.SizeLimit)
		}
	}
	mounting := 0
	for _, c := range slices.Concat(t.spec.InitContainers, t.spec.Containers) {
		for _, m := range c.VolumeMounts {
			if t.vols[m.Name] == v {
				mounting++
			}
		}
	}
	switch {
	case e.Medium != "" && e.Medium != "Memory":
		t.refuse(v.path+".emptyDir.medium", "%q is not Memory", e.Medium)
	case e.Medium == "Memory" && mounting <= 1:
		v.memory = e
	case e.Medium == "Memory":
		t.remark(v.path+".emptyDir.medium", "what several containers mount is on the disk")
	}
	if e.SizeLimit != "" && v.memory == nil {
		t.remark(v.path+".emptyDir.sizeLimit", "nobody measures it")
	}
}

// group is the fsGroup. The API reference gives volumes to it, and each process of the pod is in
// it: what the group may do with a volume, everybody may who sees it.
func (t *translation) group() *int64 {
	if t.spec.SecurityContext == nil {
		return nil
	}
	return t.spec.SecurityContext.FSGroup
}

// hostPath is a file or directory of this machine.
func (t *translation) hostPath(v *volume, h *kube.HostPath) {
	path := v.path + ".hostPath"
	if h.Path == "tmpfs" {
		t.remark(path, "podman writes a file system in memory like that, and here it is one")
		v.memory = &kube.EmptyDir{}
		return
	}
	if !filepath.IsAbs(h.Path) || slices.Contains(strings.Split(h.Path, "/"), "..") {
		t.refuse(path+".path", "%q is no absolute path without ..", h.Path)
		return
	}
	v.source = filepath.Clean(h.Path)
	st, err := os.Stat(v.source)
	is := func(mode os.FileMode) bool { return err == nil && st.Mode().Type() == mode }
	right, known := map[string]bool{
		"": err == nil, "Directory": is(os.ModeDir), "DirectoryOrCreate": err != nil || is(os.ModeDir), "File": is(0), "FileOrCreate": is(0), "Socket": is(os.ModeSocket),
		"CharDevice": is(os.ModeDevice | os.ModeCharDevice), "BlockDevice": is(os.ModeDevice),
	}[h.Type]
	switch {
	case !known:
		t.refuse(path+".type", "%q is none of Directory, DirectoryOrCreate, File, FileOrCreate, Socket, CharDevice and BlockDevice", h.Type)
	case !right && h.Type == "":
		t.refuse(path+".path", "%s is not there", v.source)
	case !right:
		t.refuse(path, "%s is no %s", v.source, strings.TrimSuffix(h.Type, "OrCreate"))
	}
	v.dir = h.Type == "DirectoryOrCreate"
}

// files are those of a config map or secret.
func (t *translation) files(v *volume, path, kind string, all map[string]map[string][]byte, f *kube.FilesOf) {
	v.contents, v.readOnly = &kube.Contents{Name: v.source, Kind: kind}, true
	values, ok := all[f.Name]
	if !ok && !f.Optional {
		t.refuse(path, "%s %q is not in this file", kind, f.Name)
		return
	}
	items := f.Items
	if items == nil {
		for _, key := range slices.Sorted(maps.Keys(values)) {
			items = append(items, kube.KeyToPath{Key: key, Path: key})
		}
	}
	for i, item := range items {
		at := fmt.Sprintf("%s.items[%d]", path, i)
		data, there := values[item.Key]
		mode := int64(0o644)
		if m := cmp.Or(item.Mode, f.DefaultMode); m != nil {
			mode = *m
		}
		switch {
		case !there && !f.Optional:
			t.refuse(at+".key", "%s %q has no %q", kind, f.Name, item.Key)
		case !there:
		case !localPath(item.Path):
			t.refuse(at+".path", "%q leaves the volume, or is longer than a path may be", item.Path[:min(len(item.Path), 100)])
		case mode < 0 || mode > 0o777:
			t.refuse(path, "a mode is a number from 0 to 0777")
		default:
			if t.group() != nil {
				mode |= 0o044 // its group may read it, and that are all users of the pod
			}
			v.contents.Files = append(v.contents.Files, kube.File{Path: item.Path, Mode: uint32(mode), Data: data})
			t.spend(len(data))
		}
	}
	if twice, ok := collide(v.contents.Files); ok {
		t.refuse(path+".items", "there cannot be two files at %q, nor one below another", twice)
	}
}

// mounts: where the container has the volumes.
func (m *member) mounts() {
	if len(m.of.VolumeMounts) > maxMounts {
		m.refuse("volumeMounts", "there are more than %d", maxMounts)
		return
	}
	for i, mount := range m.of.VolumeMounts {
		path := fmt.Sprintf("volumeMounts[%d]", i)
		v := m.vols[mount.Name]
		if v == nil {
			m.refuse(path+".name", "the pod has no volume %q", mount.Name)
			continue
		}
		v.mounted++
		if !filepath.IsAbs(mount.MountPath) || strings.Contains(mount.MountPath+v.source, ":") {
			m.refuse(path+".mountPath", "it and what is mounted are to be absolute paths without a colon")
			continue
		}
		readOnly := mount.ReadOnly || v.readOnly
		if v.memory != nil {
			if mount.SubPath != "" {
				m.refuse(path+".subPath", "only a file of a configMap or secret can be mounted by itself")
			}
			m.memory(mount.MountPath, v.memory, readOnly)
			continue
		}
		if v.contents != nil && !v.made {
			v.made = true
			m.translation.out.Volumes = append(m.translation.out.Volumes, *v.contents)
		}
		if mount.SubPath != "" {
			m.part(path+".subPath", v, mount)
			continue
		}
		var options []string
		if readOnly {
			options = append(options, "ro")
		}
		if !filepath.IsAbs(v.source) { // it begins empty: the image's files are not copied
			options = append(options, "nocopy")
		}
		if v.dir && !slices.Contains(m.out.Dirs, v.source) {
			m.out.Dirs = append(m.out.Dirs, v.source)
		}
		m.flag("volume", strings.TrimSuffix(v.source+":"+mount.MountPath+":"+strings.Join(options, ","), ":"))
	}
}

// memory mounts a file system in memory, which everybody in the container may write into.
func (m *member) memory(target string, e *kube.EmptyDir, readOnly bool) {
	options := []string{"mode=777"}
	if n, ok := quantityOf(string(e.SizeLimit)); ok {
		options = append(options, "size="+strconv.FormatInt((n+999)/1000, 10))
	}
	if readOnly {
		options = append(options, "ro")
	}
	m.flag("tmpfs", target+":"+strings.Join(options, ","))
}

// part mounts one file of a config map or secret. In other volumes containers make links, which
// nobody is to follow here.
func (m *member) part(path string, v *volume, mount kube.VolumeMount) {
	if v.contents == nil || v.contents.Shared {
		m.refuse(path, "only a file of a configMap or secret can be mounted by itself")
		return
	}
	if !slices.ContainsFunc(v.contents.Files, func(f kube.File) bool { return f.Path == mount.SubPath }) {
		m.refuse(path, "the volume has no file %q", mount.SubPath)
	}
	m.out.Mounts = append(m.out.Mounts, kube.FileOf{Volume: v.source, Path: mount.SubPath, Target: mount.MountPath})
}

// jsonWords are words as JSON.
func jsonWords(words []string) string {
	text, _ := json.Marshal(words) // of strings it never fails
	return string(text)
}
