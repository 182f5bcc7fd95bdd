// This file says, for each step, what a person types to do the same: Step.ByHand. The lines of
// the table, one below the other, do what the runner does. A line that ends in " sh" starts a
// shell, and what comes after is typed into that one; Script makes a script of them. Some
// variables go from step to step:
//
//	$WORK      a new directory of yours
//	$ROOT      $WORK/root, where the container's root is mounted
//	$LAYERS    the unpacked layers, the top one first, with colons between them
//	$RUN_DIR   $RUN_UID $RUN_HOME $PRIVS $KEYRING   for the last step

package ns

import (
	"fmt"
	"net/netip"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/network"
	"tiffin/internal/shell"
	"tiffin/ns/cgroup"
)

// inRootPath is a path below $ROOT, for a shell.
func inRootPath(path string) string { return `"$ROOT"` + shell.Word(path) }

func byHandUser(s *Spec) string {
	if s.sharedNetwork() {
		return "# $ABOVE: tiffin inspect --format '{{.State.SupervisorPid}}' " + strings.TrimPrefix(s.Network, SharedNetwork) + "\n" +
			`nsenter --target "$ABOVE" --user --preserve-credentials unshare --mount --pid --fork --kill-child sh`
	}
	if len(s.IDs.UIDs) > 0 && s.IDs.UIDs[0] == (IDRange{0, 0, s.IDs.UIDs[0].Count}) && !s.IDs.Single() {
		// Without CAP_SETUID in the namespace above, a process cannot map many ids; unshare(1) asks
		// newuidmap(1).
		return "unshare --user --mount --pid --fork --kill-child sh\n" +
			"# from another shell, by the number that ps(1) has there:\n" +
			"#   for m in uid gid; do echo " + strings.TrimSpace(format(s.IDs.UIDs[:1])) + " > /proc/PID/${m}_map; done\n" +
			"exec sh"
	}
	return "unshare " + s.userOptions() + " --mount --pid --fork --kill-child sh"
}

// userOptions make unshare(1) map the same ids, but of the subordinate ranges one at most: it takes
// no more.
func (s *Spec) userOptions() string {
	if len(s.IDs.UIDs) < 2 && len(s.IDs.GIDs) < 2 {
		return "--user --map-root-user"
	}
	line := "--user --map-user=0 --map-group=0"
	for _, kind := range []struct {
		option string
		ranges []IDRange
	}{{" --map-users=", s.IDs.UIDs}, {" --map-groups=", s.IDs.GIDs}} {
		if len(kind.ranges) > 1 {
			r := kind.ranges[1]
			line += fmt.Sprintf("%s%d,%d,%d", kind.option, r.Outside, r.Inside, r.Count)
		}
	}
	return line
}

// byHandNamespaces maps one id as unshare(1) does, and several from outside: only a process in the
// namespace above may do that. A shell that was started before it had ids has lost its
// capabilities, until it executes the next program as root.
func byHandNamespaces(s *Spec) string {
	line, flags := "unshare --user --map-root-user", s.cloneFlags()
	before := ""
	if s.sharedNetwork() {
		flags &^= unix.CLONE_NEWNET
		line = `exec nsenter --target "$OTHER" --user --preserve-credentials --net unshare`
		before = "# $OTHER: tiffin inspect --format '{{.State.Pid}}' " + strings.TrimPrefix(s.Network, SharedNetwork) + "\n"
	} else if len(s.IDs.UIDs) > 1 || len(s.IDs.GIDs) > 1 {
		line = "exec unshare"
		before = strings.Join([]string{
			`mkfifo "$WORK/pid" "$WORK/mapped"`,
			`{ read -r pid < "$WORK/pid"`,
			`  for m in gid_map uid_map; do awk '{ print $1, $1, $3 }' /proc/self/$m > /proc/$pid/$m; done`,
			`  : > "$WORK/mapped"; } &`,
			`unshare --user sh`,
			`read -r pid rest < /proc/self/stat; echo "$pid" > "$WORK/pid"`,
			`cat "$WORK/mapped"`, ""}, "\n")
	}
	for _, o := range []struct {
		flag   uintptr
		option string
	}{
		{unix.CLONE_NEWNS, " --mount"}, {unix.CLONE_NEWPID, " --pid --fork --kill-child"}, {unix.CLONE_NEWNET, " --net"}, {unix.CLONE_NEWUTS, " --uts"},
		{unix.CLONE_NEWIPC, " --ipc"}, {unix.CLONE_NEWCGROUP, " --cgroup"},
	} {
		if flags&o.flag != 0 {
			line += o.option
		}
	}
	return before + line + " sh"
}

// byHandCgroup makes the group where tiffin would, or, where that is not known, in the group that
// $CGROUP names.
func byHandCgroup(s *Spec) string {
	g := s.Cgroup
	if g == nil {
		g = new(cgroup.Group)
	}
	lines := []string{`CG="${CGROUP:?a control group to divide, such as one by: systemd-run --user --scope -p Delegate=yes}/tiffin-$$"`}
	if g.Dir != "" {
		lines = []string{"CG=" + shell.Word(g.Dir)}
	}
	if g.There {
		return strings.Join(append(lines, `echo $$ > "$CG/cgroup.procs"`), "\n")
	}
	lines = append(lines, `mkdir "$CG"   # afterwards: rmdir`)
	for _, c := range g.Settings {
		lines = append(lines, fmt.Sprintf(`echo %s > "$CG/%s"`, shell.Word(c.Value), c.File))
	}
	lines = append(lines, `echo $$ > "$CG/cgroup.procs"`)
	if s.ownCgroupNS() {
		lines = append(lines, "exec unshare --cgroup sh")
	}
	return strings.Join(lines, "\n")
}

func byHandProc(s *Spec) string {
	if s.leavesOut("pid") {
		return `mkdir -p "$ROOT/proc"` + "\n" + `mount --rbind /proc "$ROOT/proc"` + "\n" + remount(`"$ROOT/proc"`, "nosuid,nodev,noexec")
	}
	return `mkdir -p "$ROOT/proc"` + "\n" + `mount -t proc -o nosuid,nodev,noexec proc "$ROOT/proc"`
}

func byHandSources(s *Spec) string {
	if len(s.Files) == 0 {
		return "# nothing: the step \"volumes\" mounts by path"
	}
	lines := []string{`mkdir "$WORK/files"`, `mount -t tmpfs -o nosuid,nodev,noexec,mode=755,size=1m tmpfs "$WORK/files"`}
	for i, f := range s.Files {
		lines = append(lines, printf(f.Content)+` > "$WORK"/files/`+shell.Word(f.source(i)))
	}
	return strings.Join(lines, "\n")
}

// printf is a command that prints text, with each line of it as a word, so that it can be pasted
// with any indent.
func printf(text string) string {
	if !strings.HasSuffix(text, "\n") {
		return "printf %s " + shell.Word(text)
	}
	command := `printf '%s\n'`
	for line := range strings.Lines(text) {
		command += " " + shell.Word(strings.TrimSuffix(line, "\n"))
	}
	return command
}

func byHandRoot(s *Spec) string {
	if s.Root.Bind != "" {
		return strings.Join([]string{
			fmt.Sprintf(`mount --rbind %s "$ROOT"`, shell.Word(s.Root.Bind)),
			`mount -o remount,bind,` + s.rootOptions() + ` "$ROOT"`}, "\n")
	}
	if s.Root.Overlay != nil {
		return "# nothing: the directories in $LAYERS stand in for the read-only file system"
	}
	return byHandOverlay(s)
}

// rootOptions are builder.rootFlags.
func (s *Spec) rootOptions() string { return pick(s.Process.NewPrivs, "nodev", "nosuid,nodev") }

func byHandDev(*Spec) string {
	lines := []string{`mkdir -p "$ROOT/dev"`, `mount -t tmpfs -o nosuid,noexec,strictatime,mode=755,size=65536k tmpfs "$ROOT/dev"`}
	lines = append(lines, "for d in "+strings.Join(devices[:], " ")+`; do touch "$ROOT/dev/$d"; mount --bind "/dev/$d" "$ROOT/dev/$d"; done`)
	for _, l := range devLinks {
		lines = append(lines, fmt.Sprintf(`ln -s %s "$ROOT/dev/%s"`, l[0], l[1]))
	}
	return strings.Join(lines, "\n")
}

func byHandDevpts(s *Spec) string {
	return `mkdir -p "$ROOT/dev/pts"` + "\n" + `mount -t devpts -o nosuid,noexec,` + devptsData(s) + ` devpts "$ROOT/dev/pts"`
}

func byHandShm(s *Spec) string {
	if s.HostIPC {
		return `mkdir -p "$ROOT/dev/shm"` + "\n" + `mount --rbind /dev/shm "$ROOT/dev/shm"` + "\n" + remount(`"$ROOT/dev/shm"`, "nosuid,nodev,noexec")
	}
	return `mkdir -p "$ROOT/dev/shm"` + "\n" + `mount -t tmpfs -o nosuid,nodev,noexec,` + shmData(s) + ` tmpfs "$ROOT/dev/shm"`
}

func byHandSys(s *Spec) string {
	host := []string{`mkdir -p "$ROOT/sys"`, `mount --rbind /sys "$ROOT/sys"`, remount(`"$ROOT/sys"`, "ro,nosuid,nodev,noexec")}
	if s.hostNetwork() {
		return strings.Join(host, "\n")
	}
	ro := "ro,"
	if s.Unmasked {
		ro = ""
	}
	return strings.Join([]string{host[0], `mount -t sysfs -o ` + ro + `nosuid,nodev,noexec sysfs "$ROOT/sys" || {`, host[1], host[2], "}"}, "\n")
}

// remount sets flags of a bind mount and of what is below it: mount(8) before 2.39 has no
// recursion for that, and writes a space as \040, as /proc/pid/mountinfo does, proc(5).
func remount(at, options string) string {
	return "mount -o remount,bind," + options + " " + at + "\n" +
		"awk -v at=" + at + ` 'index($5, at "/") == 1 { print $5 }' /proc/self/mountinfo |` + "\n" +
		`  while read -r m; do mount -o remount,bind,` + options + ` "$(printf %b "$m")"; done`
}

func byHandVolumes(s *Spec) string {
	var lines []string
	for _, m := range s.Mounts {
		at := inRootPath(m.Target)
		if m.Source == "" {
			opts := "nosuid,nodev,noexec"
			if m.Options != "" {
				opts += "," + m.Options
			}
			lines = append(lines, "mkdir -p "+at, "mount -t tmpfs -o "+shell.Word(opts)+" tmpfs "+at)
			continue
		}
		if st, err := os.Stat(m.Source); err == nil && !st.IsDir() {
			lines = append(lines, makeFile(m.Target))
		} else {
			lines = append(lines, "mkdir -p "+at)
		}
		lines = append(lines, "mount --rbind "+shell.Word(m.Source)+" "+at, remount(at, "nosuid,nodev"+pick(m.ReadOnly, ",ro", "")))
	}
	return strings.Join(lines, "\n")
}

// byHandInterface makes the same interfaces, with nobody at the other ends.
func byHandInterface(s *Spec) string {
	if f := s.Foreign; f != nil {
		return "# outside, with PID for the number of this shell: " + strings.Join(f.Args("PID"), " ")
	}
	all := s.Interfaces
	if all == nil {
		all = []network.Addresses{network.Private}
	}
	var lines []string
	for n, a := range all {
		name := interfaceName(n)
		lines = append(lines, fmt.Sprintf("ip tuntap add dev %s mode tap", name),
			fmt.Sprintf("ip link set dev %s address %s mtu %d arp off addrgenmode none", name, network.MAC(a.IPv4.Addr()), a.MTU),
			fmt.Sprintf("ip address add %s dev %s", a.IPv4, name),
			fmt.Sprintf("ip address add %s dev %s nodad", a.IPv6, name),
			fmt.Sprintf("ip link set dev %s up", name))
		for _, gateway := range []netip.Addr{a.Gateway4, a.Gateway6} {
			if gateway.IsValid() {
				lines = append(lines, fmt.Sprintf("ip route add default via %s dev %s", gateway, name))
			}
		}
	}
	return strings.Join(append(lines, "# packets wait for a program that opens it, as tiffin's network program does"), "\n")
}

// makeFile makes an empty file to mount on, if there is none.
func makeFile(target string) string {
	at := inRootPath(target)
	return fmt.Sprintf("[ -e %s ] || { mkdir -p %s; touch %s; }", at, inRootPath(path.Dir(target)), at)
}

func byHandFiles(s *Spec) string {
	var lines []string
	for i, f := range s.Files {
		lines = append(lines, makeFile(f.Target), fmt.Sprintf(`mount --bind "$WORK"/files/%s %s`, shell.Word(f.source(i)), inRootPath(f.Target)))
	}
	return strings.Join(lines, "\n")
}

func byHandMask(s *Spec) string {
	return strings.Join([]string{
		"for p in " + strings.Join(s.Masked(), " ") + "; do",
		`  if [ -d "$ROOT$p" ]; then mount -t tmpfs -o ro,nosuid,nodev,noexec,size=0,nr_inodes=1 tmpfs "$ROOT$p"`,
		`  elif [ -e "$ROOT$p" ]; then mount --bind /dev/null "$ROOT$p"; fi`,
		"done"}, "\n")
}

func byHandSysctl(s *Spec) string {
	var lines []string
	for _, c := range s.Sysctls {
		lines = append(lines, "echo "+shell.Word(c.Value)+` > "$ROOT`+c.path()+`"`)
	}
	return strings.Join(lines, "\n")
}

func byHandReadonly(s *Spec) string {
	return strings.Join([]string{
		"for p in " + strings.Join(s.Readonly(), " ") + "; do",
		`  if [ -e "$ROOT$p" ]; then mount --rbind "$ROOT$p" "$ROOT$p"`,
		`    mount -o remount,bind,ro,nosuid,nodev,noexec "$ROOT$p"; fi`,
		"done"}, "\n")
}

func byHandHostname(s *Spec) string {
	text := "hostname " + shell.Word(s.hostname())
	if s.Domainname != "" {
		text += "\ndomainname " + shell.Word(s.Domainname)
	}
	return text
}

// byHandPivot has to keep the host's tools at hand, which the image may not have. pivot_root(2)
// moves the root of every process that has the old one, so this shell first goes into a second
// view of the host's tree, to which nothing is done; `umount -l` leaves it to those who still use
// it. Descriptor 7 is the new root, 8 the old one.
func byHandPivot(*Spec) string {
	return strings.Join([]string{
		`exec 7< "$ROOT" 8< /`,
		`mkdir "$WORK/host"`,
		`mount --rbind / "$WORK/host"`,
		`exec chroot "$WORK/host" sh`,
		`chroot /proc/self/fd/8 pivot_root "$ROOT" "$ROOT"`,
		`chroot /proc/self/fd/8 umount -l /`,
		`cd /proc/self/fd/7`,
		`exec 7<&- 8<&-`}, "\n")
}

// The working directory is the new root, which no path of this shell leads to any more.
func byHandReadOnlyRoot(s *Spec) string {
	return "mount -o remount,bind,ro," + s.rootOptions() + " none ."
}

func (p *Process) directory() string {
	if p.Cwd == "" {
		return "/"
	}
	return p.Cwd
}

func byHandDirectory(s *Spec) string {
	dir := "RUN_DIR=" + shell.Word(s.Process.directory()) + "\n"
	if !s.OwnTree() {
		return dir + "cd /"
	}
	return dir + `mkdir -p ".$RUN_DIR"`
}

func byHandLimits(s *Spec) string {
	lines := []string{fmt.Sprintf("umask %03o", s.Process.umask())}
	for _, l := range s.Process.Rlimits {
		lines = append(lines, fmt.Sprintf("prlimit --pid $$ --%s=%d:%d", l.Name, l.Soft, l.Hard))
	}
	if cpus := s.Process.CPUs; len(cpus) > 0 {
		lines = append(lines, fmt.Sprintf("taskset -cp %s $$", strings.Trim(strings.Join(strings.Fields(fmt.Sprint(cpus)), ","), "[]")))
	}
	if n := s.Process.Nice; n > 0 {
		lines = append(lines, fmt.Sprintf("renice $(($(nice) + %d)) $$", n))
	}
	if p := s.Process.IOPriority; p > 0 {
		lines = append(lines, fmt.Sprintf("ionice -c %d -n %d -p $$", p>>13, p&7))
	}
	if adj := s.Process.OOMScoreAdj; adj != nil {
		lines = append(lines, fmt.Sprintf("echo %d > /proc/self/oom_score_adj", *adj))
	}
	return strings.Join(lines, "\n")
}

// byHandBounding leaves in the set what byHandExec needs after it: the set counts from the next
// execve(2) on, capabilities(7), and the program that changes the root and the user id comes
// then.
func byHandBounding(s *Spec) string {
	mask, _ := s.Process.capMask()
	lines, line, kept := []string{}, "CAPS=-all", ""
	for i, n := range capNames {
		if mask&(1<<i) == 0 {
			if n != "SYS_CHROOT" && n != "SETUID" {
				continue
			}
			kept += " " + n
		}
		if line += ",+" + strings.ToLower(n); len(line) > 50 {
			lines, line = append(lines, line), "CAPS=$CAPS"
		}
	}
	if kept != "" {
		lines = append([]string{"# too many by" + kept + ": unshare(1) needs them in the step \"exec\""}, lines...)
	}
	return strings.Join(append(lines, line, `PRIVS="--bounding-set $CAPS"`), "\n")
}

// byHandUserID looks the user up as resolveUser does.
func byHandUserID(s *Spec) string {
	user, group, withGroup := strings.Cut(s.Process.User, ":")
	if user == "" {
		user = "0"
	}
	column, missing := "$1", `{ echo "no such user" >&2; exit 125; }`
	if _, numeric := parseID(user); numeric {
		column, missing = "$3", "ENTRY=::"+user+":0::/:"
	}
	lines := []string{
		"ENTRY=$(awk -F: -v u=" + shell.Word(user) + ` '` + column + ` == u { print; exit }' etc/passwd || :)`,
		`[ -n "$ENTRY" ] || ` + missing,
		`RUN_UID=$(echo "$ENTRY" | cut -d : -f 3) RUN_GID=$(echo "$ENTRY" | cut -d : -f 4)`,
		`RUN_HOME=$(echo "$ENTRY" | cut -d : -f 6)`,
	}
	if _, numeric := parseID(group); numeric {
		lines = append(lines, "RUN_GID="+group)
	} else if withGroup {
		lines = append(lines, "RUN_GID=$(awk -F: -v g="+shell.Word(group)+` '$1 == g { print $3; exit }' etc/group || :)`,
			`[ -n "$RUN_GID" ] || { echo "no such group" >&2; exit 125; }`)
	}
	switch {
	case !s.IDs.Setgroups || slices.Contains(s.Process.Groups, KeepGroups):
		return strings.Join(append(lines, `PRIVS="$PRIVS --regid $RUN_GID --keep-groups"   # or setgroups(2) is denied`), "\n")
	case withGroup:
		lines = append(lines, "RUN_GROUPS=")
	default:
		lines = append(lines,
			`RUN_GROUPS=$(awk -F: -v u="${ENTRY%%:*}" -v g="$RUN_GID" 'u && $3 != g && index("," $4 ",", "," u ",") { printf ",%s", $3 }' etc/group)`)
	}
	for _, g := range s.Process.Groups {
		if _, numeric := parseID(g); !numeric {
			g = "$(awk -F: -v g=" + shell.Word(g) + ` '$1 == g { print $3; exit }' etc/group)`
		}
		lines = append(lines, "RUN_GROUPS=$RUN_GROUPS,"+g)
	}
	return strings.Join(append(lines,
		`PRIVS="$PRIVS --regid $RUN_GID --groups $RUN_GID$RUN_GROUPS"`), "\n")
}

// byHandExec does in one line what must be done by one program: the last tools of the host change
// the root to the working directory and execute the command. The user id comes last, because it
// takes the right to chroot(2) along.
func byHandExec(s *Spec) string {
	line := "exec env -i --default-signal"
	home := ` HOME="$RUN_HOME"`
	for _, e := range s.Process.Env {
		if strings.HasPrefix(e, "HOME=") {
			home = ""
		}
		line += " " + shell.Word(e)
	}
	line += home + ` $KEYRING "$(command -v setpriv)" $PRIVS "$(command -v unshare)" --root=. --wd="$RUN_DIR" --setuid="$RUN_UID" --`
	if s.leavesOut(withoutUserMap) {
		// Before --root it would be refused: unshare(2), EPERM, to a caller whose root is not
		// that of its namespace.
		line = "# the second unshare is the image's, if it has one\n" + line + " unshare --user --"
	}
	for _, a := range s.Process.Args {
		line += " " + shell.Word(a)
	}
	return line + " 3<&-"
}
