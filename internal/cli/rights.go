// The flags of run and create about what the command may do: capabilities, security options,
// limits.

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/docker/go-units"
	moby "github.com/moby/profiles/seccomp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"github.com/urfave/cli/v2"

	"tiffin/image/oci"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
	"tiffin/ns/seccomp"
)

// rightsFlags are the flags of run and create about what the command may do.
func rightsFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "cap-add", Usage: "root in the container has capability `NAME`, too, or ALL; in its user namespace only"},
		&cli.StringSliceFlag{Name: "cap-drop", Usage: "… does not have capability `NAME`, or any: ALL"},
		&cli.StringSliceFlag{Name: "security-opt", Usage: "`OPTION`: no-new-privileges=false (setuid programs work), seccomp=FILE (docker's JSON: a system call filter of your own), seccomp=unconfined (none) or systempaths=unconfined (nothing of /proc and /sys is covered)"},
		&cli.BoolFlag{Name: "privileged", Usage: "all of these: every capability, the three security options, and all devices that you may open; it gives nothing that you do not have"},
		&cli.StringSliceFlag{Name: "ulimit", Usage: "set a limit: `NAME=SOFT[:HARD]`, such as nofile=1024"},
		&cli.StringSliceFlag{Name: "group-add", Usage: "the user is in `GROUP`, too, a name or number of the image; keep-groups: in yours"},
		&cli.StringFlag{Name: "umask", Usage: "`MASK` of new files, octal, 022 if not given"},
		&cli.StringSliceFlag{Name: "sysctl", Usage: "a setting of the container's network, IPC or pid namespace: `NAME=VALUE`"},
		&cli.StringFlag{Name: "shm-size", Usage: "`SIZE` of /dev/shm, 64m if not given"},
		&cli.StringFlag{Name: "ipc", Value: "private", Usage: "System V IPC, message queues and /dev/shm are the container's: `private`; or this machine's: host"},
	}
}

// setRights reads them.
func setRights(cfg *disk.Config, c *cli.Context, _ ocispec.ImageConfig) error {
	for _, o := range []struct {
		flag string
		to   *[]string
	}{{"cap-add", &cfg.CapAdd}, {"cap-drop", &cfg.CapDrop}} {
		for _, name := range c.StringSlice(o.flag) {
			if !strings.EqualFold(name, "ALL") && !ns.ValidCap(name) {
				return errs.Hint(fmt.Errorf("--%s %s: there is no such capability", o.flag, name), "capabilities(7) lists them; ALL is all")
			}
			*o.to = append(*o.to, strings.ToUpper(name))
		}
	}
	profile := ""
	for _, s := range c.StringSlice("security-opt") {
		if file, ok := strings.CutPrefix(strings.Replace(s, ":", "=", 1), "seccomp="); ok && file != "unconfined" {
			profile = file
		} else if err := setSecurityOption(cfg, s); err != nil {
			return err
		}
	}
	if c.Bool("privileged") {
		cfg.Privilege()
		cfg.Volumes = append(cfg.Volumes, openable()...)
	}
	if profile != "" {
		cfg.NoSeccomp = false
		if err := setSeccomp(cfg, profile); err != nil {
			return fmt.Errorf("--security-opt seccomp=%s: %w", profile, err)
		}
	}
	for _, s := range c.StringSlice("ulimit") {
		l, err := parseUlimit(s)
		if err != nil {
			return err
		}
		cfg.Rlimits = append(cfg.Rlimits, l)
	}
	if err := setProcess(cfg, c); err != nil {
		return err
	}
	switch mode := c.String("ipc"); mode {
	case "private":
	case "host":
		cfg.HostIPC = true
	default:
		return errs.Hint(fmt.Errorf("--ipc %s is not there", mode), "private, which is so anyway, and host are")
	}
	if s := c.String("shm-size"); s != "" {
		if cfg.HostIPC {
			return errors.New("--shm-size: with --ipc host /dev/shm is that of this machine, which has its size")
		}
		n, err := units.RAMInBytes(s)
		if err != nil || n <= 0 {
			return errs.Hint(fmt.Errorf("--shm-size %s: it is no size", s), "such as 64m or 1g")
		}
		cfg.ShmSize = n
	}
	return nil
}

// setProcess reads --sysctl, --group-add and --umask.
func setProcess(cfg *disk.Config, c *cli.Context) error {
	for _, s := range c.StringSlice("sysctl") {
		setting, err := ns.ParseSysctl(s)
		if err != nil {
			return err
		}
		cfg.Sysctls = append(cfg.Sysctls, setting)
	}
	cfg.Groups = c.StringSlice("group-add")
	if len(cfg.Groups) > 1 && slices.Contains(cfg.Groups, ns.KeepGroups) {
		return errors.New("--group-add keep-groups keeps the groups as they are: no other --group-add goes with it")
	}
	if s := c.String("umask"); s != "" {
		n, err := strconv.ParseUint(s, 8, 32)
		if err != nil || n > 0o777 {
			return errs.Hint(fmt.Errorf("--umask %s: it is no mask of permissions", s), "three octal digits, such as 027: see umask(2)")
		}
		mask := uint32(n)
		cfg.Umask = &mask
	}
	return nil
}

// setSecurityOption reads NAME=VALUE, or NAME:VALUE as older programs write it.
func setSecurityOption(cfg *disk.Config, s string) error {
	name, value, _ := strings.Cut(strings.Replace(s, ":", "=", 1), "=")
	switch {
	case name == "no-new-privileges" && (value == "" || value == "true"): // as it is anyway
	case name == "no-new-privileges" && value == "false":
		cfg.NewPrivs = true
	case name == "seccomp" && value == "unconfined":
		cfg.NoSeccomp = true
	case name == "systempaths" && value == "unconfined":
		cfg.Unmasked = true
	case s == "label=disable", s == "label:disable", name == "apparmor" && value == "unconfined": // as it is anyway
	default:
		return errs.Hint(fmt.Errorf("--security-opt %s is not there", s), "no-new-privileges=false, seccomp=FILE, seccomp=unconfined and systempaths=unconfined are; no label is set")
	}
	return nil
}

// setSeccomp reads a profile of docker's, whose conditions on capabilities hold for those of root.
func setSeccomp(cfg *disk.Config, file string) error {
	text, err := oci.ReadFile(file, oci.MaxJSON)
	if err != nil {
		return err
	}
	caps := cfg.Caps()
	if caps == nil {
		caps = ns.DefaultCaps()
	}
	spec := &specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: caps}}}
	read, err := moby.LoadProfile(string(text), spec)
	switch {
	case err != nil:
		return err
	case read == nil:
		return errors.New("it has neither a defaultAction nor syscalls")
	case read.ListenerPath != "":
		return errors.New("listenerPath: no other program is asked")
	}
	cfg.Seccomp = new(seccomp.Profile)
	if text, err = json.Marshal(read); err == nil {
		err = json.Unmarshal(text, cfg.Seccomp)
	}
	if err != nil {
		return err
	}
	_, unknown, err := seccomp.CompileProfile(cfg.Seccomp)
	if err == nil && len(unknown) > 0 {
		fmt.Fprintf(stderr, "tiffin: note: %s names system calls that this machine does not have: %s\n", file, strings.Join(unknown, ", "))
	}
	return err
}

// parseUlimit reads NAME=SOFT[:HARD]; -1 and "unlimited" are no limit.
func parseUlimit(s string) (l ns.Rlimit, err error) {
	name, value, _ := strings.Cut(s, "=")
	soft, hard, both := strings.Cut(value, ":")
	if !both {
		hard = soft
	}
	l.Name = strings.ToLower(name)
	if !ns.ValidRlimit(l.Name) {
		return l, errs.Hint(fmt.Errorf("--ulimit %s: there is no such limit", s), "getrlimit(2) has them, in small letters: nofile, nproc, core, stack, …")
	}
	for _, n := range []struct {
		text string
		to   *uint64
	}{{soft, &l.Soft}, {hard, &l.Hard}} {
		if n.text == "-1" || n.text == "unlimited" {
			*n.to = ^uint64(0)
		} else if *n.to, err = strconv.ParseUint(n.text, 10, 64); err != nil {
			return l, fmt.Errorf("--ulimit %s: %q is no number", s, n.text)
		}
	}
	if l.Soft > l.Hard {
		return l, fmt.Errorf("--ulimit %s: the soft limit is above the hard one", s)
	}
	return l, nil
}
