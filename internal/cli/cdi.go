// Devices by name: what the specification files of the Container Device Interface say that a name
// stands for. Vendors' programs write them, such as `nvidia-ctk cdi generate`.

package cli

import (
	"fmt"
	"slices"
	"strings"

	"tags.cncf.io/container-device-interface/pkg/cdi"
	specs "tags.cncf.io/container-device-interface/specs-go"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

// isCDI tells VENDOR/CLASS=NAME from a path: CDI SPEC.md, "Kind".
func isCDI(s string) bool { return !strings.HasPrefix(s, "/") && strings.Contains(s, "=") }

// cdiFiles reads the specification files of some directories, nil for /etc/cdi and /var/run/cdi.
func cdiFiles(dirs []string) (*cdi.Cache, error) {
	options := []cdi.Option{cdi.WithAutoRefresh(false)} // no watching
	if len(dirs) > 0 {
		options = append(options, cdi.WithSpecDirs(dirs...))
	}
	return cdi.NewCache(options...)
}

// addCDI adds devices by their names: CDI SPEC.md, "containerEdits" of the device and of its file.
func addCDI(cfg *disk.Config, dirs []string, names []string) error {
	cache, err := cdiFiles(dirs)
	if err != nil {
		return err
	}
	seen := map[*cdi.Spec]bool{}
	for _, name := range names {
		d := cache.GetDevice(name)
		if d == nil {
			return noSuchDevice(cache, "device "+name)
		}
		edits := []specs.ContainerEdits{d.Device.ContainerEdits}
		if s := d.GetSpec(); !seen[s] {
			seen[s] = true
			edits = slices.Insert(edits, 0, s.ContainerEdits)
		}
		for i := range edits {
			if err := addEdits(cfg, name, &edits[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// noSuchDevice says that what is wanted is not there, which names are, and which files are wrong.
func noSuchDevice(cache *cdi.Cache, what string) error {
	for file, list := range cache.GetErrors() {
		return fmt.Errorf("%s: %s: %w", what, file, list[0])
	}
	hint := "there are no specification files in " + strings.Join(cache.GetSpecDirectories(), " and ") +
		": the vendor's program writes them, such as nvidia-ctk cdi generate; or name the device's files, and its libraries with -v"
	if names := cache.ListDevices(); len(names) > 0 {
		hint = "there are " + strings.Join(names, ", ")
	}
	return errs.Hint(fmt.Errorf("%s: no specification file of the Container Device Interface has it", what), hint)
}

// addEdits does what can be done without root: device nodes, mounts and variables.
func addEdits(cfg *disk.Config, name string, e *specs.ContainerEdits) error {
	cfg.Env = disk.MergeEnv(cfg.Env, e.Env)
	for _, d := range e.DeviceNodes {
		source := d.HostPath
		if source == "" {
			source = d.Path
		}
		list, err := parseDevice(source + ":" + d.Path)
		if err != nil {
			return fmt.Errorf("device %s: %s: %w", name, source, err)
		}
		cfg.Volumes = append(cfg.Volumes, list...)
	}
	for _, m := range e.Mounts {
		if m.Type != "" && m.Type != "bind" {
			return fmt.Errorf("device %s: it wants a mount of type %q, and only files of this machine can be shown", name, m.Type)
		}
		v := disk.Volume{Source: m.HostPath, Target: m.ContainerPath, ReadOnly: slices.Contains(m.Options, "ro")}
		cfg.Volumes = append(cfg.Volumes, v)
	}
	for _, h := range e.Hooks {
		fmt.Fprintf(stderr, "tiffin: note: device %s: %s is not run: it would be a program of this machine in the container\n", printable(name), printable(h.Path))
	}
	return nil
}

// gpus are the devices that --gpus stands for: podman-run(1). Of each vendor's kind of class gpu
// that is the device "all", or, where there is none, each.
func gpus(dirs []string, value string) ([]string, error) {
	switch value {
	case "", "none":
		return nil, nil
	case "all":
	default:
		return nil, errs.Hint(fmt.Errorf("--gpus %s is neither all nor none", value), "single ones have names: --device nvidia.com/gpu=0")
	}
	cache, err := cdiFiles(dirs)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, name := range cache.ListDevices() {
		if kind, device, _ := strings.Cut(name, "="); strings.HasSuffix(kind, "/gpu") && (device == "all" || cache.GetDevice(kind+"=all") == nil) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, noSuchDevice(cache, "--gpus all")
	}
	return names, nil
}
