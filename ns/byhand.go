package ns

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
)

// This file says, for each step, what a person types to do the same: Step.ByHand. The lines of
// the table, one below the other, are a shell script.

// quote makes one word of s for a shell.
func quote(s string) string {
	if s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("-_./:=@%+,", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// inRootPath is a path below $ROOT, for a shell.
func inRootPath(path string) string { return `"$ROOT"` + quote(path) }

func byHandUser(s *Spec) string {
	if s.IDs.Single() {
		return "unshare --user --map-root-user --mount bash"
	}
	return "unshare --user --map-root-user --map-auto --mount bash"
}

func byHandNamespaces(s *Spec) string {
	line, flags := "unshare --mount", s.cloneFlags()
	for _, o := range []struct {
		flag   uintptr
		option string
	}{
		{unix.CLONE_NEWPID, " --pid --fork --kill-child"}, {unix.CLONE_NEWNET, " --net"}, {unix.CLONE_NEWUTS, " --uts"},
		{unix.CLONE_NEWIPC, " --ipc"}, {unix.CLONE_NEWCGROUP, " --cgroup"},
	} {
		if flags&o.flag != 0 {
			line += o.option
		}
	}
	return line + " bash"
}

func byHandSources(s *Spec) string {
	lines := []string{"# a bind mount by path in the step below does it; keep the files' text here:", "mkdir -p /tmp/files"}
	for i, f := range s.Files {
		lines = append(lines, fmt.Sprintf("printf %%s %s > /tmp/files/%d", quote(f.Content), i))
	}
	return strings.Join(lines, "\n")
}

func byHandRoot(s *Spec) string {
	if s.Root.Bind != "" {
		return strings.Join([]string{
			fmt.Sprintf(`mount --rbind %s "$ROOT"`, quote(s.Root.Bind)),
			`mount -o remount,bind,nosuid,nodev "$ROOT"`}, "\n")
	}
	return `mount -t overlay -o nosuid,nodev,userxattr,lowerdir="$LAYERS",upperdir="$UPPER",workdir="$WORK" overlay "$ROOT"`
}

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
	return `mkdir -p "$ROOT/dev/shm"` + "\n" + `mount -t tmpfs -o nosuid,nodev,noexec,` + shmData(s) + ` tmpfs "$ROOT/dev/shm"`
}

func byHandSys(s *Spec) string {
	if s.hostNetwork() {
		return strings.Join([]string{`mkdir -p "$ROOT/sys"`, `mount --rbind /sys "$ROOT/sys"`, `mount -o remount,bind,ro,nosuid,nodev,noexec "$ROOT/sys"`}, "\n")
	}
	return `mkdir -p "$ROOT/sys"` + "\n" + `mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$ROOT/sys"`
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
			lines = append(lines, "mkdir -p "+at, "mount -t tmpfs -o "+quote(opts)+" tmpfs "+at)
			continue
		}
		lines = append(lines, "mkdir -p "+at+"   # for a file: touch", "mount --rbind "+quote(m.Source)+" "+at,
			"mount -o remount,bind,nosuid,nodev"+pick(m.ReadOnly, ",ro", "")+" "+at)
	}
	return strings.Join(lines, "\n")
}

func byHandFiles(s *Spec) string {
	var lines []string
	for i, f := range s.Files {
		at := inRootPath(f.Target)
		lines = append(lines, fmt.Sprintf("test -e %s || touch %s", at, at), fmt.Sprintf("mount --bind /tmp/files/%d %s", i, at))
	}
	return strings.Join(lines, "\n")
}

func byHandMask(s *Spec) string {
	return strings.Join([]string{
		"for p in " + strings.Join(s.masked(), " ") + "; do",
		`  if [ -d "$ROOT$p" ]; then mount -t tmpfs -o ro,nosuid,nodev,noexec,size=0 tmpfs "$ROOT$p"`,
		`  elif [ -e "$ROOT$p" ]; then mount --bind /dev/null "$ROOT$p"; fi`,
		"done"}, "\n")
}

func byHandReadonly(s *Spec) string {
	return strings.Join([]string{
		"for p in " + strings.Join(s.readonly(), " ") + "; do",
		`  [ -e "$ROOT$p" ] && mount --rbind "$ROOT$p" "$ROOT$p" && mount -o remount,bind,ro,nosuid,nodev,noexec "$ROOT$p"`,
		"done"}, "\n")
}

func byHandHostname(s *Spec) string { return "hostname " + quote(s.hostname()) }

func byHandReadOnlyRoot(*Spec) string { return "mount -o remount,bind,ro,nosuid,nodev /" }

func byHandDirectory(s *Spec) string {
	cwd := s.Process.Cwd
	if cwd == "" {
		cwd = "/"
	}
	return fmt.Sprintf("mkdir -p %s\ncd %s", quote(cwd), quote(cwd))
}

func byHandLimits(s *Spec) string {
	lines := []string{"umask 022"}
	for _, l := range s.Process.Rlimits {
		lines = append(lines, fmt.Sprintf("prlimit --pid $$ --%s=%d:%d", l.Name, l.Soft, l.Hard))
	}
	if adj := s.Process.OOMScoreAdj; adj != nil {
		lines = append(lines, fmt.Sprintf("echo %d > /proc/self/oom_score_adj", *adj))
	}
	return strings.Join(lines, "\n")
}

// capWords lists the capabilities as setpriv(1) and capsh(1) write them.
func (p *Process) capWords(prefix string) string {
	mask, _ := p.capMask()
	var out []string
	for i, n := range capNames {
		if mask&(1<<i) != 0 {
			out = append(out, prefix+strings.ToLower(n))
		}
	}
	return strings.Join(out, ",")
}

func byHandCaps(s *Spec) string {
	return "setpriv --bounding-set -all," + s.Process.capWords("+") + " --inh-caps -all --ambient-caps -all …"
}

func byHandUserID(s *Spec) string {
	user, group, _ := strings.Cut(s.Process.User, ":")
	if user == "" {
		user = "0"
	}
	line := "setpriv --reuid " + quote(user)
	if group != "" {
		line += " --regid " + quote(group)
	}
	return line + pick(s.IDs.Setgroups, " --init-groups …", " --keep-groups …")
}

func byHandExec(s *Spec) string {
	words := make([]string, len(s.Process.Args))
	for i, a := range s.Process.Args {
		words[i] = quote(a)
	}
	return "exec " + strings.Join(words, " ")
}
