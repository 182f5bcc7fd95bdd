// What the runner has to build, as far as the container's configuration says it.

package disk

import (
	"slices"
	"strings"

	"tiffin/internal/network"
	"tiffin/ns"
	"tiffin/ns/cgroup"
)

// defaultPath is PATH where neither image nor user sets one, as docker has it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// Plan is what ns has to build for such a container, without its root.
func (c *Config) Plan(ids ns.IDMap) *ns.Spec {
	spec := &ns.Spec{
		IDs:      ids,
		Hostname: c.Hostname, Domainname: c.Domainname, Network: c.Network, ReadOnly: c.ReadOnly, Init: c.Init,
		Files:   c.Files(nil),
		Process: c.Process(ids), ShmSize: c.ShmSize, HostIPC: c.HostIPC, Sysctls: c.Sysctls,
		Without: c.Without, Unmasked: c.Unmasked,
	}
	if c.WantsCgroup() {
		spec.Cgroup = &cgroup.Group{Settings: c.Limits.Settings()}
	}
	if choice, err := network.ParseChoice(c.Network); err == nil {
		spec.Foreign = choice.Foreign()
		if choice.Kind == network.User {
			spec.Interfaces = []network.Addresses{network.Private}
		}
	}
	for _, v := range c.Volumes {
		spec.Mounts = append(spec.Mounts, ns.Mount{Source: v.Source, Target: v.Target, ReadOnly: v.ReadOnly, Options: v.Options})
	}
	return spec
}

// Process is the container's command, in a user namespace that has these ids.
func (c *Config) Process(ids ns.IDMap) ns.Process {
	return ns.Process{
		Args: c.Args(), Env: c.Environment(c.TTY), Cwd: c.Dir, User: c.User,
		Groups: c.Groups, Umask: c.Umask, Terminal: c.TTY,
		Caps: c.Caps(), NewPrivs: c.NewPrivs, NoSeccomp: c.NoSeccomp, Seccomp: c.Seccomp, Bounds: ns.Bounds{Rlimits: c.Rlimits},
		RootEmulation: c.Emulation == EmulationOn || c.Emulation == EmulationFull || c.Emulation == "" && ids.Single(),
		ShowOwners:    c.Emulation == EmulationFull,
	}
}

// Environment is Env with what every command finds: PATH, HOSTNAME and, with a
// terminal, TERM. HOME depends on the user and is added by ns.
func (c *Config) Environment(tty bool) []string {
	env := []string{"PATH=" + defaultPath, "HOSTNAME=" + c.Hostname}
	if tty {
		env = append(env, "TERM=xterm")
	}
	return MergeEnv(env, c.Env)
}

// MergeEnv returns base with the variables of over set, in the order of their
// first appearance.
func MergeEnv(base, over []string) []string {
	out := slices.Clone(base)
	for _, kv := range over {
		name, _, _ := strings.Cut(kv, "=")
		i := slices.IndexFunc(out, func(s string) bool { return strings.HasPrefix(s, name+"=") })
		if i >= 0 {
			out[i] = kv
		} else {
			out = append(out, kv)
		}
	}
	return out
}
