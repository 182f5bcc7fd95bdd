// The ordered list of the steps. This is the runner: read it from top to bottom.

package ns

import "strings"

// by makes a ByHand that does not depend on the container.
func by(lines ...string) func(*Spec) string {
	return func(*Spec) string { return strings.Join(lines, "\n") }
}

// Steps returns the runner: its steps in the order they happen. The order is part of
// it; each step relies on those above.
func Steps() []Step {
	return []Step{{
		Name: "user-namespace", Where: "client",
		Needed: "whoever is not root may do nothing of what follows without it",
		Why:    "in a user namespace of its own, your user id is 0 and may do what only root may: mount, pivot_root, sethostname",
		Man:    "user_namespaces(7), \"Defining user and group ID mappings\"",
		Calls:  []string{"clone(2)", "open(2)", "write(2)"},
		ByHand: byHandUser,
	}, {
		Name: "namespaces", Where: "supervisor",
		Needed: "leave out one of them: cgroup, ipc, net, pid or uts",
		Why:    "the command gets its own view of mounts, processes, network, host name, System V objects and cgroups, and a user namespace below the supervisor's that owns them: its capabilities reach no further",
		Man:    "namespaces(7); clone(2), CLONE_NEWNS and its neighbours; user_namespaces(7), \"Interaction of user namespaces and other types of namespaces\"",
		Calls:  []string{"clone(2)", "execve(2)", "open(2)", "write(2)"},
		ByHand: byHandNamespaces,
	}, {
		Name: "parent-death", Where: "init",
		Instead: "the pid namespace of the supervisor, which ends with it",
		Why:     "if the supervisor dies, the kernel kills PID 1, and with it everything in its pid namespace: nothing is left behind",
		Man:     "prctl(2), PR_SET_PDEATHSIG; pid_namespaces(7), \"The namespace init process\"",
		Calls:   []string{"prctl(2)"}, ByHand: by("# unshare --kill-child has done it"),
		run: runParentDeath, look: deathSignal,
	}, {
		Name: "session", Where: "init",
		Instead: "the session of the supervisor, which has no terminal",
		Why:     "a session of its own, so that the command cannot push input into your terminal (TIOCSTI, CVE-2017-5226)",
		Man:     "setsid(2); ioctl_tty(2), TIOCSTI",
		Calls:   []string{"setsid(2)"}, ByHand: by("exec setsid sh"),
		run: runSession, look: sessionID,
	}, {
		Name: "control-group", Where: "both",
		Needed: "it is what --memory and its like ask for, and without them it is not done",
		Why:    "a control group bounds what all processes of the container use together; it is entered before anything of the image runs, and becomes the root of the groups that the container sees",
		Man:    "cgroups(7), \"Creating cgroups and moving processes\"; cgroup_namespaces(7)",
		Calls:  []string{"mkdir(2)", "open(2)", "write(2)", "unshare(2)"}, ByHand: byHandCgroup,
		skip: func(b *builder) string { return skipIf(b.spec.Cgroup == nil, "no limit given") },
		run:  runControlGroup, look: controlGroup,
		hint: "`tiffin doctor` says which controllers you have",
	}, {
		Name: "propagation", Where: "init",
		Instead: "the rule that mounts copied into another user namespace are slaves: what is mounted here never gets out, but what the host mounts comes in",
		Why:     "mounts and unmounts on the host and in the container no longer reach each other",
		Man:     "mount_namespaces(7), \"SHARED SUBTREES\"",
		Calls:   []string{"mount(2)"}, ByHand: by("mount --make-rprivate /"),
		run: runPropagation, look: rootPropagation,
	}, {
		Name: "sources", Where: "init",
		Needed:  "the files and volumes that are mounted later come from it",
		Instead: "nothing has to: the container sees no path of the host",
		Why:     "what comes from the host is picked up before the container's own tree exists, so that nothing in the image can lead the path astray",
		Man:     "mount_setattr(2), EXAMPLES, with open_tree(2)",
		Calls:   []string{"open_tree(2)", "mount(2)"}, ByHand: byHandSources,
		skip: skipSources, run: runSources,
		hint: "check the source paths of -v",
	}, {
		Name: "root", Where: "init",
		Needed: "without it there is nothing to run",
		Why:    "the merged layers become a mount; nosuid (unless you ask for setuid programs) and nodev, because an image's setuid bits and device nodes are a stranger's",
		Man:    "mount(2); mount.fuse3(8); fuse(4)",
		Calls:  []string{"mount(2)"}, ByHand: byHandRoot,
		run: runRoot, look: mountLines("/"),
		hint: "`tiffin doctor` tries the same",
	}, {
		Name: "overlay", Where: "init",
		Needed:  "the layers alone cannot be changed",
		Instead: "the file system of the step \"root\", which merges layers and upper directory itself",
		Why:     "the mounted layers become the lower side of the kernel's overlayfs, the container's own directory the upper: what is written never leaves the kernel",
		Man:     "the kernel's Documentation/filesystems/overlayfs.rst, \"User xattr\"",
		Calls:   []string{"mount(2)"}, ByHand: byHandOverlay,
		skip: skipOverlay, run: runOverlay, look: mountLines("/"),
		hint: "`tiffin doctor` tries overlayfs; --driver fuse, the default, does without",
	}, {
		Name: "proc", Where: "init",
		Instead: "the image's own /proc, which is empty",
		Why:     "a /proc that shows the processes of the new pid namespace only",
		Man:     "proc(5); pid_namespaces(7), \"/proc and PID namespaces\"",
		Calls:   []string{"openat2(2)", "mount(2)"}, ByHand: byHandProc,
		run: runProc, look: mountLines("/proc"),
	}, {
		Name: "dev", Where: "init",
		Instead: "the image's own /dev, where nodev keeps every device from being opened",
		Why:     "six devices and no more; mknod(2) is forbidden in a user namespace, so the host's are bound",
		Man:     "user_namespaces(7); null(4), random(4), tty(4); OCI runtime-spec config-linux.md, \"Default Devices\"",
		Calls:   []string{"mount(2)", "open_tree(2)", "move_mount(2)", "symlinkat(2)"}, ByHand: byHandDev,
		run: runDev, look: mountLines("/dev"),
	}, {
		Name: "devpts", Where: "init",
		Instead: "nothing: there are no pseudo terminals, and -t fails",
		Why:     "pseudo terminals of its own: the host's cannot be opened from inside",
		Man:     "pts(4); devpts in the kernel's Documentation/filesystems/devpts.rst",
		Calls:   []string{"mkdirat(2)", "mount(2)"}, ByHand: byHandDevpts,
		run: runDevpts, look: mountLines("/dev/pts"),
	}, {
		Name: "shm", Where: "init",
		Instead: "nothing: shm_open(3) finds no /dev/shm",
		Why:     "POSIX shared memory of its own",
		Man:     "shm_overview(7); tmpfs(5)",
		Calls:   []string{"mkdirat(2)", "mount(2)"}, ByHand: byHandShm,
		run: runShm, look: mountLines("/dev/shm"),
	}, {
		Name: "mqueue", Where: "init",
		Instead: "nothing: message queues can be used, but not listed",
		Why:     "shows the POSIX message queues of the new ipc namespace",
		Man:     "mq_overview(7), \"Mounting the message queue filesystem\"",
		Calls:   []string{"mkdirat(2)", "mount(2)"},
		ByHand: by(`mkdir -p "$ROOT/dev/mqueue"`,
			`mount -t mqueue -o nosuid,nodev,noexec mqueue "$ROOT/dev/mqueue"`),
		skip: func(b *builder) string {
			return skipIf(b.spec.hostIPC(), "the IPC namespace is the host's: --ipc host, or --without ipc")
		},
		run: runMqueue, look: mountLines("/dev/mqueue"),
	}, {
		Name: "sys", Where: "init",
		Instead: "the image's own /sys, which is empty",
		Why:     "devices as the new network namespace sees them, read-only",
		Man:     "sysfs(5); network_namespaces(7)",
		Calls:   []string{"mount(2)"}, ByHand: byHandSys,
		run: runSys, look: mountLines("/sys"),
	}, {
		Name: "cgroup", Where: "init",
		Instead: "the directory /sys/fs/cgroup as it is in /sys",
		Why:     "the control groups from the container's own group down, read-only",
		Man:     "cgroup_namespaces(7); cgroups(7), \"CGROUPS VERSION 2\"",
		Calls:   []string{"mount(2)"},
		ByHand: by(`mount -t cgroup2 -o ro,nosuid,nodev,noexec cgroup2 "$ROOT/sys/fs/cgroup" ||`,
			`  echo "no cgroup2 here; nothing depends on it" >&2`),
		skip: skipCgroup, run: runCgroup, look: mountLines("/sys/fs/cgroup"),
	}, {
		Name: "volumes", Where: "init",
		Instead: "nothing: the container has its image and no more",
		Why:     "directories of the host, volumes, which are directories of your store, and empty ones in memory appear where you asked for them",
		Man:     "openat2(2), RESOLVE_IN_ROOT; mount_setattr(2), EXAMPLES, with move_mount(2)",
		Calls:   []string{"openat2(2)", "mount_setattr(2)", "move_mount(2)"}, ByHand: byHandVolumes,
		skip: func(b *builder) string { return skipIf(len(b.spec.Mounts) == 0, "no -v and no --tmpfs given") },
		run:  runVolumes, look: mountsOn(func(s *Spec) (at []string) {
			for _, m := range s.Mounts {
				at = append(at, m.Target)
			}
			return at
		}),
	}, {
		Name: "files", Where: "init",
		Instead: "the image's own files",
		Why:     "host name and name servers are this container's business, not the image's",
		Man:     "hosts(5); resolv.conf(5); hostname(5)",
		Calls:   []string{"openat2(2)", "move_mount(2)"}, ByHand: byHandFiles,
		skip: func(b *builder) string { return skipIf(len(b.spec.Files) == 0, "no files given") },
		run:  runFiles, look: mountsOn(func(s *Spec) (at []string) {
			for _, f := range s.Files {
				at = append(at, f.Target)
			}
			return at
		}),
	}, {
		Name: "sysctl", Where: "init",
		Instead: "the settings that new namespaces have",
		Why:     "settings of the kernel that each network or IPC namespace has for itself, while /proc/sys can still be written",
		Man:     "sysctl(8); proc(5), /proc/sys; namespaces(7)",
		Calls:   []string{"openat2(2)", "write(2)"}, ByHand: byHandSysctl,
		skip: func(b *builder) string { return skipIf(len(b.spec.Sysctls) == 0, "no --sysctl given") },
		run:  runSysctl,
	}, {
		Name: "mask", Where: "init",
		Instead: "nothing: what the kernel itself refuses to you, it refuses inside too",
		Why:     "parts of /proc and /sys that tell about the host, or let one act on it, are covered",
		Man:     "proc(5); OCI runtime-spec config-linux.md, \"Masked Paths\"",
		Calls:   []string{"openat2(2)", "open_tree(2)", "move_mount(2)", "mount(2)"}, ByHand: byHandMask,
		skip: skipUnmasked, run: runMask, look: mountsOn((*Spec).Masked),
	}, {
		Name: "readonly-paths", Where: "init",
		Instead: "nothing: what the kernel itself refuses to you, it refuses inside too",
		Why:     "settings of the kernel below /proc can be read, not written",
		Man:     "proc(5), /proc/sys; OCI runtime-spec config-linux.md, \"Readonly Paths\"",
		Calls:   []string{"open_tree(2)", "mount_setattr(2)", "move_mount(2)"}, ByHand: byHandReadonly,
		skip: skipUnmasked, run: runReadonlyPaths, look: mountsOn((*Spec).Readonly),
	}, {
		Name: "hostname", Where: "init",
		Instead: "the name that the UTS namespace was made with, which is that of the host",
		Why:     "a name of its own",
		Man:     "uts_namespaces(7); sethostname(2); setdomainname(2)",
		Calls:   []string{"sethostname(2)", "setdomainname(2)"}, ByHand: byHandHostname,
		skip: func(b *builder) string {
			return skipIf(b.spec.leavesOut("uts"), "the UTS namespace is the host's: --without uts")
		},
		run: runHostname, look: func(*builder) string { return hostname() },
	}, {
		Name: "loopback", Where: "init",
		Instead: "the lo of the network namespace as it is",
		Why:     "a new network namespace has one interface, lo, and it is down",
		Man:     "network_namespaces(7); netdevice(7), SIOCSIFFLAGS",
		Calls:   []string{"socket(2)", "ioctl(2)"}, ByHand: by("ip link set lo up"),
		skip: skipLoopback, run: runLoopback, look: loopbackState,
	}, {
		Name: "interface", Where: "init",
		Instead: "nothing: the container reaches itself and nobody else",
		Why:     "one end of a cable: an Ethernet interface whose packets go to a file descriptor instead of a wire; the supervisor gets it, and starts the network program when the first packet comes. Nobody asks for addresses on this cable, neither by ARP nor by its relatives of IPv6: the other end looks at IP alone",
		Man:     "Documentation/networking/tuntap.rst of the kernel; rtnetlink(7); ip-link(8), ip-address(8), ip-route(8)",
		Calls:   []string{"open(2)", "ioctl(2)", "socket(2)", "sendto(2)", "sendmsg(2)"}, ByHand: byHandInterface,
		skip: skipInterface, run: runInterface, look: interfaceState,
	}, {
		Name: "pivot", Where: "init",
		Needed: "the command would run in your own tree, not in the image",
		Why:    "the new root becomes /, and the old one is unmounted: there is no way back, unlike after chroot(2)",
		Man:    "pivot_root(2), NOTES, pivot_root(\".\", \".\")",
		Calls:  []string{"fchdir(2)", "pivot_root(2)", "umount2(2)", "chdir(2)"},
		ByHand: byHandPivot,
		run:    runPivot, look: mountLines("/"),
	}, {
		Name: "read-only", Where: "init",
		Instead: "the container's upper directory takes the changes; the image itself is never written",
		Why:     "the image cannot be changed",
		Man:     "mount_setattr(2), MOUNT_ATTR_RDONLY",
		Calls:   []string{"mount_setattr(2)"}, ByHand: byHandReadOnlyRoot,
		skip: func(b *builder) string { return skipIf(!b.spec.ReadOnly, "no --read-only given") },
		run:  runReadOnlyRoot, look: mountLines("/"),
	}, {
		Name: "join", Where: "exec",
		Why:   "the helper enters the namespaces that PID 1 of the container lives in",
		Man:   "setns(2), with a PID file descriptor",
		Calls: []string{"unshare(2)", "setns(2)"},
		ByHand: by("# $PID: tiffin inspect --format '{{.State.Pid}}' CONTAINER",
			`nsenter --target "$PID" --user --preserve-credentials --mount --pid --net --uts --ipc --cgroup sh`),
		run: runJoin, look: nsLinks("mnt", "pid_for_children", "net", "uts", "ipc", "cgroup"),
		hint: "is the container still running?",
	}, {
		Name: "terminal", Where: "both",
		Needed:  "it is what -t asks for, and without -t it is not done",
		Instead: "pipes, or /dev/null, as standard input, output and error",
		Why:     "a pseudo terminal of the container's own; its other side goes to the supervisor",
		Man:     "pty(7); ioctl_tty(2), TIOCGPTPEER and TIOCSCTTY; unix(7), SCM_RIGHTS",
		Calls:   []string{"open(2)", "ioctl(2)", "sendmsg(2)", "dup3(2)"}, ByHand: by("# script(1) does it"),
		skip: func(b *builder) string { return skipIf(!b.proc.Terminal, "no -t given") },
		run:  runTerminal,
	}, {
		Name: "directory", Where: "both",
		Instead: "the root directory",
		Why:     "the command starts where the image says, and the directory is made if it is missing",
		Man:     "chdir(2); OCI image-spec config.md, \"WorkingDir\"",
		Calls:   []string{"mkdirat(2)", "fchdir(2)"}, ByHand: byHandDirectory,
		run: runDirectory, look: func(b *builder) string { return b.linkOwn("cwd") },
	}, {
		Name: "limits", Where: "both",
		Instead: "the limits and the umask of the process that started tiffin",
		Why:     "resource limits, and a plain umask",
		Man:     "setrlimit(2); umask(2); proc(5), /proc/pid/oom_score_adj; sched_setaffinity(2); setpriority(2); ioprio_set(2)",
		Calls:   []string{"prlimit(2)", "umask(2)"}, ByHand: byHandLimits,
		run: runLimits, look: func(b *builder) string { return statusLines("Umask")(b) },
	}, {
		Name: "keyring", Where: "both",
		Instead: "the session keyring of the process that started tiffin",
		Why:     "a session keyring of its own: yours, with its keys, stays out of reach",
		Man:     "session-keyring(7); keyctl(2), KEYCTL_JOIN_SESSION_KEYRING",
		Calls:   []string{"keyctl(2)"}, ByHand: by(`KEYRING=""   # keyctl(1) is in the package keyutils`,
			`if command -v keyctl > /dev/null; then KEYRING="$(command -v keyctl) session -"; fi`),
		run: runKeyring, look: sessionKeyring,
	}, {
		Name: "root-emulation", Where: "both",
		Instead: "the kernel, which refuses ids that are not mapped, and devices",
		Why:     "with one id, files cannot be given away and nobody else can be become: a filter hands such calls to the supervisor, which remembers",
		Man:     "seccomp_unotify(2); seccomp(2), SECCOMP_FILTER_FLAG_NEW_LISTENER; getrlimit(2), RLIMIT_LOCKS",
		Calls:   []string{"seccomp(2)", "sendmsg(2)"},
		ByHand:  by("# no common tool answers system calls; fakeroot(1) replaces functions of the C library instead"),
		skip:    skipEmulation, run: runEmulation, look: statusLines("Seccomp", "Seccomp_filters"),
	}, {
		Name: "seccomp", Where: "both",
		Instead: "the checks of the system calls themselves, against ids and capabilities",
		Why:     "system calls that ordinary programs do not need are answered EPERM or ENOSYS by a filter in the kernel",
		Man:     "seccomp(2), SECCOMP_SET_MODE_FILTER, EACCES",
		Calls:   []string{"seccomp(2)"}, ByHand: by("# no common tool loads a filter"),
		skip: skipSeccomp, run: runSeccomp, look: statusLines("Seccomp"),
	}, {
		Name: "bounding-set", Where: "both",
		Instead: "the user namespace: capabilities count in it and nowhere else",
		Why:     "capabilities that are not in the bounding set can never come back, whatever is executed",
		Man:     "capabilities(7), \"Capability bounding set\"; prctl(2), PR_CAPBSET_DROP",
		Calls:   []string{"prctl(2)"}, ByHand: byHandBounding,
		run: runBounding, look: statusLines("CapBnd"),
	}, {
		Name: "user", Where: "both",
		Instead: "root of the container",
		Why:     "the user and groups the image or you ask for, by the image's own /etc/passwd and /etc/group",
		Man:     "credentials(7); setresuid(2); setgroups(2); user_namespaces(7)",
		Calls:   []string{"openat2(2)", "setgroups(2)", "setresgid(2)", "setresuid(2)"}, ByHand: byHandUserID,
		run: runUser, look: statusLines("Uid", "Gid", "Groups"),
	}, {
		Name: "capabilities", Where: "both",
		Instead: "the user namespace: capabilities count in it and nowhere else",
		Why:     "root in the container keeps fourteen capabilities, another user none",
		Man:     "capabilities(7), \"Thread capability sets\"; capset(2)",
		Calls:   []string{"capset(2)", "prctl(2)"}, ByHand: by(`PRIVS="$PRIVS --inh-caps -all --ambient-caps -all"`),
		run: runCaps, look: statusLines("CapInh", "CapPrm", "CapEff", "CapAmb"),
	}, {
		Name: "no-new-privs", Where: "both",
		Instead: "the user namespace and nosuid: a setuid program gives at most what is mapped",
		Why:     "no setuid program and no file capability gives more than what is left now",
		Man:     "prctl(2), PR_SET_NO_NEW_PRIVS",
		Calls:   []string{"prctl(2)"}, ByHand: by(`PRIVS="$PRIVS --no-new-privs"`),
		skip: func(b *builder) string { return skipIf(b.proc.NewPrivs, "asked for with --security-opt") },
		run:  runNoNewPrivs, look: statusLines("NoNewPrivs"),
	}, {
		Name: "exec", Where: "both",
		Needed: "it is the command",
		Why:    "this process becomes the command; what was open is closed on the way",
		Man:    "execve(2); close_range(2), CLOSE_RANGE_CLOEXEC",
		Calls:  []string{"close_range(2)", "execve(2)"}, ByHand: byHandExec,
		run: runExec,
	}}
}

// skipIf returns why if cond holds.
func skipIf(cond bool, why string) string {
	if cond {
		return why
	}
	return ""
}
