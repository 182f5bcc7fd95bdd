// What the command may do: capabilities, limits, security options.

package disk

import (
	"encoding/json"
	"slices"
	"strings"

	"tiffin/ns"
	"tiffin/ns/seccomp"
)

// Rights are what the command may do, as far as the user can choose. Zero values stand for the
// defaults.
type Rights struct {
	CapAdd    []string         `json:"capAdd,omitempty"` // names, or "ALL"
	CapDrop   []string         `json:"capDrop,omitempty"`
	NewPrivs  bool             `json:"newPrivs,omitempty"`  // setuid programs and file capabilities work
	NoSeccomp bool             `json:"noSeccomp,omitempty"` // no system call filter
	Seccomp   *seccomp.Profile `json:"seccomp,omitempty"`   // nil = tiffin's own filter
	Unmasked  bool             `json:"unmasked,omitempty"`  // nothing of /proc and /sys is covered or read-only
	Rlimits   []ns.Rlimit      `json:"rlimits,omitempty"`
	ShmSize   int64            `json:"shmSize,omitempty"` // bytes of /dev/shm
	HostIPC   bool             `json:"hostIPC,omitempty"` // the machine's IPC namespace and /dev/shm instead
	Sysctls   []ns.Sysctl      `json:"sysctls,omitempty"`
	Groups    []string         `json:"groups,omitempty"` // see ns.Process
	Umask     *uint32          `json:"umask,omitempty"`  // nil = 022
}

// Privilege is --privileged, as far as rights go: docker-run(1).
func (r *Rights) Privilege() {
	r.CapAdd = append(r.CapAdd, allCaps)
	r.NewPrivs, r.NoSeccomp, r.Unmasked = true, r.Seccomp == nil, true
}

const allCaps = "ALL"

// Caps are the capabilities of root in the container, nil for the default ones: docker-run(1),
// --cap-add and --cap-drop. What is both added and dropped is dropped. If one of the two is ALL,
// the names in the other are exceptions from it.
func (r *Rights) Caps() []string {
	if len(r.CapAdd)+len(r.CapDrop) == 0 {
		return nil
	}
	add, drop := capSet(r.CapAdd), capSet(r.CapDrop)
	keep := []string{} // not nil, which would be the default
	for _, name := range ns.AllCaps() {
		usual := slices.Contains(ns.DefaultCaps(), name)
		switch {
		case add[allCaps]:
			usual = !drop[name]
		case drop[allCaps]:
			usual = add[name]
		default:
			usual = (usual || add[name]) && !drop[name]
		}
		if usual {
			keep = append(keep, name)
		}
	}
	return keep
}

// capSet has names in the form of ns.AllCaps.
func capSet(names []string) map[string]bool {
	set := map[string]bool{}
	for _, n := range names {
		n = strings.ToUpper(n)
		if n != allCaps && !strings.HasPrefix(n, "CAP_") {
			n = "CAP_" + n
		}
		set[n] = true
	}
	return set
}

// SecurityOptions are the Rights in the words of --security-opt.
func (r *Rights) SecurityOptions() (opts []string) {
	if r.NewPrivs {
		opts = append(opts, "no-new-privileges=false")
	}
	if r.NoSeccomp {
		opts = append(opts, "seccomp=unconfined")
	}
	if r.Seccomp != nil {
		text, _ := json.Marshal(r.Seccomp) // it was read from JSON
		opts = append(opts, "seccomp="+string(text))
	}
	if r.Unmasked {
		opts = append(opts, "systempaths=unconfined")
	}
	return opts
}
