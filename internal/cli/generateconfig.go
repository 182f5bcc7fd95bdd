// What stands around the pod that `tiffin generate kube` writes: a deployment, and the config maps
// and secrets of containers that `tiffin play kube` has made, with the files that their volumes
// have.

package cli

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"tiffin/internal/container/disk"
	"tiffin/internal/kube"
)

// objects are those of the file: the pod or its deployment, and before it what it refers to.
func (x *exporting) objects() []any {
	if x.deployed != nil {
		return append(slices.Clone(x.shown), x.deployed)
	}
	return append(slices.Clone(x.shown), &x.pod)
}

// deploy makes the pod the template of a deployment. That finds its pods by a label, and has them
// start again whenever they end: Kubernetes' API reference, DeploymentSpec.
func (x *exporting) deploy(replicas int64) {
	name := strings.TrimSuffix(x.pod.Metadata.Name, "-pod")
	if x.pod.Metadata.Labels["app"] == "" {
		if x.pod.Metadata.Labels == nil {
			x.pod.Metadata.Labels = map[string]string{}
		}
		x.pod.Metadata.Labels["app"] = name
	}
	if x.pod.Spec.RestartPolicy != "Always" {
		x.pod.Spec.RestartPolicy = "Always"
		x.notes = append(x.notes, "a deployment starts its containers again whenever they end: a pod can say otherwise")
	}
	for _, c := range x.pod.Spec.Containers {
		for _, p := range c.Ports {
			if p.HostPort != 0 && replicas > 1 {
				x.notes = append(x.notes, fmt.Sprintf("port %d of the machine is one pod's: each replica needs a machine of its own", p.HostPort))
			}
		}
	}
	x.deployed = &kube.Deployment{Spec: kube.DeploymentSpec{
		Replicas: &replicas,
		Selector: kube.LabelSelector{MatchLabels: map[string]string{"app": x.pod.Metadata.Labels["app"]}},
		Template: kube.PodTemplate{Metadata: kube.ObjectMeta{Labels: x.pod.Metadata.Labels}, Spec: x.pod.Spec},
	}}
	x.deployed.APIVersion, x.deployed.Kind = "apps/v1", "Deployment"
	x.deployed.Metadata = kube.ObjectMeta{Name: name + "-deployment", Labels: x.pod.Metadata.Labels}
}

// listed is one object, or a list of them, which kubectl takes as it takes documents of YAML.
func listed(objects []any) any {
	if len(objects) == 1 {
		return objects[0]
	}
	return map[string]any{"apiVersion": "v1", "kind": "List", "items": objects}
}

// podVolume is the volume of its pod that a container mounts, or of which it mounts one file; nil
// if it is another.
func podVolume(ctr *disk.Container, mount *disk.Volume) (of *disk.StoredVolume, part string, err error) {
	pod := ctr.Labels[kube.LabelPod]
	if pod == "" || mount.Source == "" && mount.Name == "" {
		return nil, "", nil
	}
	set := ctr.Set()
	if mount.Name != "" {
		of, err = set.Volume(mount.Name)
	} else if rel, e := filepath.Rel(set.VolumesDir(), mount.Source); e == nil && filepath.IsLocal(rel) {
		name, _, _ := strings.Cut(rel, "/")
		if of, err = set.Volume(name); err == nil {
			part, err = filepath.Rel(set.VolumeData(name), mount.Source)
		}
	}
	if of == nil || err != nil || of.Labels[kube.LabelPod] != pod {
		return nil, "", err
	}
	return of, part, nil
}

// contents is a volume of a pod as the file has it. What is in a config map or secret is written.
func (x *exporting) contents(ctr *disk.Container, v *disk.StoredVolume) (of kube.Volume, err error) {
	pod := ctr.Labels[kube.LabelPod]
	of.Name = strings.TrimPrefix(v.Name, pod+".")
	if first := x.pod.Metadata.Name; first != "" && first != pod { // of two pods one is made
		of.Name = kubeName(v.Name)
	}
	switch other, there := x.volumes[of.Name]; {
	case there && other != v.Name:
		return of, fmt.Errorf("its name in the pod would be %q, which is that of volume %s", of.Name, other)
	case there:
		return of, nil
	}
	x.volumes[of.Name] = v.Name
	kind := v.Labels[kube.LabelVolume]
	if kind == "" {
		of.EmptyDir = &kube.EmptyDir{}
		return of, nil
	}
	data, items, err := filesOf(ctr.Set().VolumeData(v.Name))
	if err != nil {
		return of, err
	}
	meta := kube.Meta{APIVersion: "v1", Kind: kind, Metadata: kube.ObjectMeta{Name: of.Name}}
	if kind == "Secret" {
		of.Secret = &kube.SecretFiles{SecretName: of.Name, Items: items}
		secret := &kube.Secret{Meta: meta, Data: map[string]string{}}
		for key, b := range data {
			secret.Data[key] = base64.StdEncoding.EncodeToString(b)
		}
		x.shown = append(x.shown, secret)
		x.note(ctr, "secret %s is in the file, for everybody who reads it", of.Name)
	} else {
		of.ConfigMap = &kube.FilesOf{Name: of.Name, Items: items}
		config := &kube.ConfigMap{Meta: meta, Data: map[string]string{}, BinaryData: map[string]string{}}
		for key, b := range data {
			if utf8.Valid(b) {
				config.Data[key] = string(b)
			} else {
				config.BinaryData[key] = base64.StdEncoding.EncodeToString(b)
			}
		}
		x.shown = append(x.shown, config)
	}
	return of, nil
}

// notKey is what is in no key of a config map.
var notKey = regexp.MustCompile(`^\.\.|[^-._a-zA-Z0-9]`)

// filesOf are the files of a volume, by their keys, and where they are. Whoever mounts the volume
// elsewhere may have changed it: links are not followed, and there is an end.
func filesOf(dir string) (data map[string][]byte, items []kube.KeyToPath, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	data = map[string][]byte{}
	left := int64(kube.MaxFile)
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		key := notKey.ReplaceAllString(path, "_")
		if _, taken := data[key]; taken || !info.Mode().IsRegular() {
			return fmt.Errorf("%q is nothing that a config map or secret can have", path)
		}
		if left -= info.Size(); left < 0 {
			return fmt.Errorf("it has more than %d MB", kube.MaxFile>>20)
		}
		f, err := root.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a fifo would wait for somebody
		if err != nil {
			return err
		}
		b, err := io.ReadAll(io.LimitReader(f, info.Size()+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		data[key] = b
		mode := int64(info.Mode().Perm())
		items = append(items, kube.KeyToPath{Key: key, Path: path, Mode: &mode})
		return nil
	})
	return data, items, err
}
