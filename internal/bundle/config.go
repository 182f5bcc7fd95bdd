// Package bundle says what tiffin would run, in the words of the OCI runtime specification 1.3
// (config.md): runc, crun and what is built on them run it without tiffin.
//
//	DIR/config.json     Config
//	DIR/rootfs/         the files, with the owners that the user namespace gives them
//	DIR/etc/            hosts(5), resolv.conf(5) and hostname(5), mounted over the image's
//
// What is allowed to the command comes from where tiffin's own runner has it: the plan of the
// container (disk.Config.Plan), package ns, and the list that the filter of package ns/seccomp is
// made of. The standard mounts are those of config-linux.md, "Default Filesystems", with the
// options that the runner has for them.
//
// What the specification has no word for is left out, and told: Left.
package bundle

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	moby "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"tiffin/internal/container/disk"
	"tiffin/ns"
	"tiffin/ns/cgroup"
)

// version is that of the specification which has all words that are used here. Runtimes refuse a
// later one than they know, as crun 1.8 of Debian 12 does 1.2.
const version = "1.1.0"

// Config is config.json of a container, of whose files open opens some. ids are the ids that they
// were made with; user says that the container is to have a user namespace with them.
// files are the names, below the bundle, of what is mounted over the image's files.
func Config(c *disk.Config, ids ns.IDMap, user bool, open func(path string) (io.ReadCloser, error), files map[string]string) (*specs.Spec, error) {
	plan := c.Plan(ids)
	who, err := ns.LookUpIdentity(plan.Process.User, plan.Process.Groups, open, ids)
	if err != nil {
		return nil, err
	}
	s := &specs.Spec{
		Version:  version,
		Root:     &specs.Root{Path: "rootfs", Readonly: c.ReadOnly},
		Hostname: plan.Hostname, Domainname: plan.Domainname,
		Process:     process(&plan.Process, who),
		Mounts:      append(system(plan), volumes(plan, files)...),
		Annotations: map[string]string{},
		Linux: &specs.Linux{
			Namespaces:  namespaces(plan, user),
			MaskedPaths: plan.Masked(), ReadonlyPaths: plan.Readonly(),
			Resources: resources(c.Limits), Sysctl: map[string]string{},
		},
	}
	if user {
		s.Linux.UIDMappings, s.Linux.GIDMappings = mappings(ids.UIDs), mappings(ids.GIDs)
	}
	for _, set := range plan.Sysctls {
		s.Linux.Sysctl[set.Name] = set.Value
	}
	for name, value := range c.Labels {
		s.Annotations[name] = value
	}
	s.Annotations["org.opencontainers.image.stopSignal"] = c.StopSignal // image-spec v1.1 conversion.md
	if c.StopSignal == "" {
		s.Annotations["org.opencontainers.image.stopSignal"] = "SIGTERM"
	}
	return s, filter(s, &plan.Process)
}

// process is config.md, "Process".
func process(p *ns.Process, who ns.Identity) *specs.Process {
	caps := p.Caps
	if caps == nil {
		caps = ns.DefaultCaps()
	}
	out := &specs.Process{
		Terminal: p.Terminal, Args: p.Args, Env: p.Env, Cwd: path.Clean("/" + p.Cwd),
		User:            specs.User{UID: who.UID, GID: who.GID, AdditionalGids: who.Groups, Umask: p.Umask},
		Capabilities:    &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		NoNewPrivileges: !p.NewPrivs, OOMScoreAdj: p.OOMScoreAdj,
	}
	for _, l := range p.Rlimits {
		out.Rlimits = append(out.Rlimits, specs.POSIXRlimit{Type: "RLIMIT_" + strings.ToUpper(l.Name), Soft: l.Soft, Hard: l.Hard})
	}
	for _, kv := range p.Env {
		if strings.HasPrefix(kv, "HOME=") {
			return out
		}
	}
	out.Env = append(append([]string{}, p.Env...), "HOME="+who.Home)
	return out
}

// filter is config-linux.md, "Seccomp": the user's own profile, or moby's list for the capabilities
// of s, of which tiffin's own filter is made.
func filter(s *specs.Spec, p *ns.Process) error {
	switch {
	case p.NoSeccomp:
		return nil
	case p.Seccomp == nil:
		var err error
		s.Linux.Seccomp, err = moby.GetDefaultProfile(s)
		return err
	}
	text, err := json.Marshal(p.Seccomp)
	if err != nil {
		return err
	}
	s.Linux.Seccomp = new(specs.LinuxSeccomp)
	return json.Unmarshal(text, s.Linux.Seccomp)
}

func mappings(ranges []ns.IDRange) (out []specs.LinuxIDMapping) {
	for _, r := range ranges {
		out = append(out, specs.LinuxIDMapping{ContainerID: r.Inside, HostID: r.Outside, Size: r.Count})
	}
	return out
}

// namespaces is config-linux.md, "Namespaces".
func namespaces(plan *ns.Spec, user bool) []specs.LinuxNamespace {
	kinds := []specs.LinuxNamespaceType{specs.MountNamespace, specs.PIDNamespace, specs.UTSNamespace, specs.CgroupNamespace}
	if user {
		kinds = append(kinds, specs.UserNamespace)
	}
	if !plan.HostIPC {
		kinds = append(kinds, specs.IPCNamespace)
	}
	if plan.Network != "host" {
		kinds = append(kinds, specs.NetworkNamespace)
	}
	var out []specs.LinuxNamespace
	for _, k := range kinds {
		out = append(out, specs.LinuxNamespace{Type: k})
	}
	return out
}

// system are the mounts of the kernel's own file systems.
func system(plan *ns.Spec) []specs.Mount {
	size := "size=65536k"
	if plan.ShmSize > 0 {
		size = fmt.Sprintf("size=%d", plan.ShmSize)
	}
	ipc := []specs.Mount{
		{Destination: "/dev/shm", Type: "tmpfs", Source: "shm", Options: []string{"nosuid", "noexec", "nodev", "mode=1777", size}},
		{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue", Options: []string{"nosuid", "noexec", "nodev"}},
	}
	if plan.HostIPC { // mq_overview(7): a mount of queues takes an IPC namespace of one's own
		ipc = []specs.Mount{{Destination: "/dev/shm", Type: "none", Source: "/dev/shm", Options: []string{"rbind", "nosuid", "noexec", "nodev"}}}
	}
	sys := specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs", Options: []string{"nosuid", "noexec", "nodev", "ro"}}
	if plan.Network == "host" { // mount_namespaces(7): a new sysfs takes a network namespace of one's own
		sys = specs.Mount{Destination: "/sys", Type: "none", Source: "/sys", Options: []string{"rbind", "nosuid", "noexec", "nodev", "ro"}}
	}
	return append([]specs.Mount{
		{Destination: "/proc", Type: "proc", Source: "proc", Options: []string{"nosuid", "noexec", "nodev"}},
		{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "strictatime", "mode=755", "size=65536k"}},
		{Destination: "/dev/pts", Type: "devpts", Source: "devpts", Options: []string{"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"}},
		sys,
	}, ipc...)
}

// volumes are the mounts of the user's, and the small files that are mounted over the image's.
func volumes(plan *ns.Spec, files map[string]string) (out []specs.Mount) {
	for _, f := range plan.Files {
		out = append(out, specs.Mount{Destination: f.Target, Type: "bind", Source: files[f.Target], Options: []string{"bind", "nosuid", "nodev"}})
	}
	for _, m := range plan.Mounts {
		how := "rw"
		if m.ReadOnly {
			how = "ro"
		}
		if m.Source == "" {
			options := append([]string{"nosuid", "nodev", "noexec", how}, strings.FieldsFunc(m.Options, func(r rune) bool { return r == ',' })...)
			out = append(out, specs.Mount{Destination: m.Target, Type: "tmpfs", Source: "tmpfs", Options: options})
			continue
		}
		options := []string{"rbind", "nosuid", "nodev", how}
		if isDevice(m.Source) { // it was asked for, and nodev would keep it from being opened: mount(2)
			options = []string{"bind", "nosuid", "noexec", how}
		}
		out = append(out, specs.Mount{Destination: m.Target, Type: "bind", Source: m.Source, Options: options})
	}
	return out
}

// isDevice tells whether there is a device of that name.
func isDevice(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode()&os.ModeDevice != 0
}

// resources is config-linux.md, "Control groups"; nil where nothing is limited, since who is not
// root often has no control group to write to.
func resources(l cgroup.Limits) *specs.LinuxResources {
	if l == (cgroup.Limits{}) {
		return nil
	}
	r := &specs.LinuxResources{}
	if l.Memory != 0 || l.MemorySwap != 0 || l.MemoryReservation != 0 {
		r.Memory = &specs.LinuxMemory{Limit: some(l.Memory), Swap: some(l.MemorySwap), Reservation: some(l.MemoryReservation)}
	}
	if l.NanoCPUs != 0 || l.CPUShares != 0 || l.Cpuset != "" {
		r.CPU = &specs.LinuxCPU{Cpus: l.Cpuset}
		if l.NanoCPUs > 0 {
			period := uint64(100_000) // microseconds
			quota := l.NanoCPUs / 10_000
			r.CPU.Period, r.CPU.Quota = &period, &quota
		}
		if l.CPUShares > 0 {
			shares := uint64(l.CPUShares)
			r.CPU.Shares = &shares
		}
	}
	if l.Pids != 0 {
		r.Pids = &specs.LinuxPids{Limit: &l.Pids}
	}
	if l.BlkioWeight > 0 {
		weight := uint16(l.BlkioWeight)
		r.BlockIO = &specs.LinuxBlockIO{Weight: &weight}
	}
	return r
}

// some is a number that was given.
func some(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// Left are the settings of a container that a bundle has no place for, and why. groups are those of
// its user besides the first, if somebody is to start it who is not root.
func Left(c *disk.Config, ids ns.IDMap, groups []uint32) (all []string) {
	add := func(there bool, what string) {
		if there {
			all = append(all, what)
		}
	}
	add(len(c.Ports) > 0 || len(c.Networks) > 0, "ports and networks: a bundle has loopback alone until something makes it more")
	add(c.Shares() != "", "--network container: it has a network of its own, with loopback alone")
	add(slices.Contains(c.Groups, ns.KeepGroups), "--group-add keep-groups: runtimes leave the groups that are not mapped")
	add(len(groups) > 0, fmt.Sprintf("for runc, the groups %v of the user: without root it starts no such command, and crun does; with --serve both do", groups))
	add(c.Healthcheck != nil, "the health check: a runtime has none")
	add(c.Restart.Policy != "", "--restart: whoever calls the runtime starts it again")
	add(c.Init, "--init: the command is process 1 itself")
	add(len(c.Without) > 0, "--without: its steps are those of tiffin's own runner")
	add(ids.Single() && c.Emulation != disk.EmulationOff, "root emulation: with one id, chown(2) and setuid(2) to others fail")
	return all
}

// Files are what the bundle has of the small files that are mounted over the image's: names below
// the bundle, by where they are mounted.
func Files(plan *ns.Spec) map[string]string {
	names := map[string]string{}
	for _, f := range plan.Files {
		names[f.Target] = filepath.Join("etc", path.Base(f.Target))
	}
	return names
}
