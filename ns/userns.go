// The first process of a container is started in a new user namespace, and its ids are mapped
// while it comes up: user_namespaces(7).

package ns

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/internal/wire"
)

// selfExe is this program. The kernel follows the link to the very file that
// runs, even if its name now belongs to another one: proc(5), /proc/pid/exe.
const selfExe = "/proc/self/exe"

// lastCap is the highest capability of Linux 5.9 and later, capabilities(7).
const lastCap = unix.CAP_CHECKPOINT_RESTORE

// allCaps is every capability, for SysProcAttr.AmbientCaps.
func allCaps() []uintptr {
	caps := make([]uintptr, lastCap+1)
	for i := range caps {
		caps[i] = uintptr(i)
	}
	return caps
}

// Start runs the program in a new user namespace and a private copy of the
// mount namespace, and writes the id maps while it comes up.
//
// Errors carry a hint if the kernel's answer alone tells the cause; probe.Explain
// knows more.
func (u *UserNS) Start() (*UserProc, error) {
	p, err := u.Clone()
	if err != nil {
		return nil, err
	}
	return p, p.MapIDs(u.SingleID)()
}

// Clone is the first half of Start. The program waits for the second: Entered.
//
// The child executes before its maps are written. An execve(2) by a user id that
// has no mapping drops all capabilities, which is why other programs execute twice.
// Ambient capabilities survive it: capabilities(7), "Ambient". One exec saved is
// about a millisecond.
func (u *UserNS) Clone() (p *UserProc, err error) {
	// The new process must not inherit what this one did: with --init, init would keep it, and the
	// container could open it again through /proc/1/fd (runc's CVE-2024-21626).
	if err := unix.CloseRange(3, ^uint(0), unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, fmt.Errorf("start the supervisor: close_range: %w", err)
	}
	conn, theirs, err := wire.Pair()
	if err != nil {
		return nil, fmt.Errorf("start the supervisor: %w", err)
	}
	defer theirs.Close()
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	began := time.Now()
	null, stdio, err := openStdio(u.Stdio)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	files := append(stdio[:], theirs)
	attr := &syscall.ProcAttr{
		Dir: u.Dir, Env: u.Env,
		Sys: &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
			AmbientCaps: allCaps(),
			Setsid:      u.Setsid,
		},
	}
	if attr.Env == nil {
		attr.Env = syscall.Environ()
	}
	for _, f := range files {
		attr.Files = append(attr.Files, f.Fd())
	}
	program := selfExe
	if u.Program != nil {
		exe, err := outOfTheWay(u.Program, files)
		if err != nil {
			return nil, fmt.Errorf("start the supervisor: %w", err)
		}
		defer exe.Close()
		program = pathOf(exe)
	}
	p = &UserProc{Conn: conn, began: began}
	if u.Beside != nil {
		err = p.cloneBeside(u, program, attr)
	} else if p.Pid, err = syscall.ForkExec(program, u.Args, attr); err != nil { // not os.StartProcess: see startInit
		err = userNSError(err)
	}
	runtime.KeepAlive(files)
	if err != nil {
		return nil, err
	}
	if u.Beside == nil {
		p.calls = []string{fmt.Sprintf("clone(CLONE_NEWUSER|CLONE_NEWNS|CLONE_NEWPID|SIGCHLD) = %d", p.Pid)}
	}
	return p, nil
}

// cloneBeside starts the program in the user namespace of u.Beside, which its owner may enter from
// outside: user_namespaces(7), "Capabilities". It is process 1 of a pid namespace that is there.
func (p *UserProc) cloneBeside(u *UserNS, program string, attr *syscall.ProcAttr) error {
	const spaces = unix.CLONE_NEWNS | unix.CLONE_NEWPID
	s := spawn{path: program, argv: u.Args, env: attr.Env, dir: u.Dir, user: int(u.Beside.Fd()), below: spaces, session: u.Setsid}
	for _, fd := range attr.Files {
		s.files = append(s.files, int(fd))
	}
	pid, pidfd, err := s.start()
	if err != nil {
		return errs.Hint(fmt.Errorf("enter the user namespace of another container: %w", err), "does it still run? see setns(2)")
	}
	_ = unix.Close(pidfd)
	p.Pid, p.given = pid, true
	p.calls = []string{fmt.Sprintf("setns(%d /* pidfd */, CLONE_NEWUSER) = 0", s.user), "unshare(" + cloneFlagNames(spaces) + ") = 0",
		fmt.Sprintf("clone(CLONE_PARENT|SIGCHLD) = %d", pid)}
	return nil
}

// MapIDs is the second half of UserNS.Start. With single, only the caller's id is mapped. finish
// waits until the maps are written; if that fails, the process has ended. It must be called once.
func (p *UserProc) MapIDs(single bool) (finish func() error) {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if single || uid == 0 || p.given {
		err := p.sendMaps(single)
		return func() error { return err }
	}
	// Each takes a millisecond or two: both run at once, and the caller goes on.
	name := UserName(uid)
	users := p.startMapper("newuidmap", "/etc/subuid", uid, uid, name)
	groups := p.startMapper("newgidmap", "/etc/subgid", uid, gid, name)
	finish = func() error {
		p.IDs.UIDs = p.finishMapper(users)
		p.IDs.GIDs = p.finishMapper(groups)
		p.IDs.Setgroups = p.IDs.GIDs != nil
		return p.sendMaps(true)
	}
	if users.pid == 0 && groups.pid == 0 { // nothing to wait for
		err := finish()
		return func() error { return err }
	}
	return finish
}

// sendMaps writes the maps that are missing, and lets the process go on.
func (p *UserProc) sendMaps(single bool) error {
	var err error
	if p.given {
		p.IDs, err = idsOf(p.Pid)
	} else {
		err = p.writeMaps(single)
	}
	if err == nil {
		err = answer(p.Conn, &message{Op: opMaps, IDs: &p.IDs})
	}
	if err != nil {
		_ = unix.Kill(p.Pid, unix.SIGKILL)
		_, _ = p.Wait()
		p.Conn.Close()
	}
	p.took = time.Since(p.began)
	return err
}

// Wait waits for the end of the process and returns its exit status, 128+N after signal N.
func (p *UserProc) Wait() (int, error) {
	ws, err := reapProcess(p.Pid)
	if err != nil {
		return -1, err
	}
	return exitStatus(ws), nil
}

// openStdio replaces missing standard files by /dev/null.
func openStdio(given [3]*os.File) (null *os.File, all [3]*os.File, err error) {
	for i, f := range given {
		if f == nil && null == nil {
			if null, err = os.OpenFile("/dev/null", os.O_RDWR, 0); err != nil {
				return nil, all, err
			}
		}
		if f == nil {
			f = null
		}
		all[i] = f
	}
	return null, all, nil
}

// userNSError says why clone(2) with CLONE_NEWUSER fails: its ERRORS section
// and user_namespaces(7).
func userNSError(err error) error {
	wrapped := fmt.Errorf("create a user namespace: %w", err)
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EUSERS):
		return errs.Hint(wrapped, "the limit in /proc/sys/user/max_user_namespaces is reached, or 0; or 32 user namespaces are nested; see namespaces(7), \"The /proc/sys/user directory\"")
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return errs.Hint(wrapped, "this machine does not let you create user namespaces; `tiffin doctor` says which setting forbids it; see user_namespaces(7)")
	case errors.Is(err, unix.EINVAL):
		return errs.Hint(wrapped, "this kernel is built without user namespaces (CONFIG_USER_NS); see user_namespaces(7)")
	}
	return wrapped
}

// Entered is the first thing that a process started by UserNS.Start does: it blocks until its maps
// are written, and returns them and the connection to the process that started it. Afterwards it is
// user 0 with all capabilities in its namespace. It fails if the process that started it has died.
func Entered() (*wire.Conn, IDMap, error) {
	// The kernel named us after the link we were executed by: "exe".
	_ = setComm("tiffin")
	var m message
	conn, err := wire.Open(os.NewFile(wire.FD, "connection"))
	if err == nil {
		err = conn.Receive(&m)
	}
	if err == nil && m.IDs == nil {
		err = fmt.Errorf("%q instead of %q", m.Op, opMaps)
	}
	if err != nil {
		return nil, IDMap{}, fmt.Errorf("wait for the id map: %w", err)
	}
	m.close()
	return conn, *m.IDs, nil
}

// writeMaps gives the new user namespace the ids that no mapper has given it: for root all there
// are, for other users one.
func (p *UserProc) writeMaps(single bool) error {
	uid, gid := uint32(os.Geteuid()), uint32(os.Getegid())
	if !single && p.writeIdentity() == nil {
		return nil
	}
	// One's own id can be mapped without permission, if setgroups(2) is given up first:
	// user_namespaces(7), "Defining user and group ID mappings".
	if p.IDs.GIDs == nil {
		if err := p.writeFile("setgroups", "deny"); err != nil {
			return fmt.Errorf("map one group id: %w", err)
		}
		one := []IDRange{{0, gid, 1}}
		if err := p.writeFile("gid_map", format(one)); err != nil {
			return fmt.Errorf("map one group id: %w", err)
		}
		p.IDs.GIDs = one
	}
	if p.IDs.UIDs == nil {
		one := []IDRange{{0, uid, 1}}
		if err := p.writeFile("uid_map", format(one)); err != nil {
			return errs.Hint(fmt.Errorf("map one user id: %w", err),
				"see user_namespaces(7); mapping the real root needs CAP_SETFCAP since Linux 5.12")
		}
		p.IDs.UIDs = one
	}
	return nil
}

func (p *UserProc) writeFile(name, text string) error {
	path := "/proc/" + strconv.Itoa(p.Pid) + "/" + name
	err := os.WriteFile(path, []byte(text), 0)
	result := strconv.Itoa(len(text))
	if err != nil {
		result = "-1 " + errName(err)
	}
	p.calls = append(p.calls, fmt.Sprintf("write(%s, %q, %d) = %s", path, text, len(text), result))
	return err
}

// writeIdentity maps every id of this namespace to itself; it needs CAP_SETUID,
// CAP_SETGID and CAP_SETFCAP here.
func (p *UserProc) writeIdentity() error {
	for _, kind := range []string{"gid", "uid"} {
		text, err := os.ReadFile("/proc/self/" + kind + "_map")
		if err != nil {
			return err
		}
		mine, err := parseMap(text)
		if err != nil {
			return err
		}
		all := identity(mine)
		if err := p.writeFile(kind+"_map", format(all)); err != nil {
			p.Notes = append(p.Notes, Note{
				What: "all " + kind + "s", Why: "root lacks a capability here: " + err.Error(),
				Fix: "give this (container's) root CAP_SETUID, CAP_SETGID and CAP_SETFCAP",
			})
			return err
		}
		if kind == "gid" {
			// user_namespaces(7): what a parent was denied, its children are denied, too.
			allowed, err := os.ReadFile("/proc/self/setgroups")
			p.IDs.GIDs, p.IDs.Setgroups = all, err != nil || string(allowed) == "allow\n"
		} else {
			p.IDs.UIDs = all
		}
	}
	return nil
}

// mapper is a process of newuidmap(1) or newgidmap(1), which are setuid root and map the ranges of
// /etc/subuid and /etc/subgid. What fails becomes a note.
type mapper struct {
	helper, path string
	what         string // it maps
	ranges       []IDRange
	said         *os.File // its output
	pid          int      // 0: it was not started, note says why
	note         *Note
}

// startMapper has own mapped to 0, and the subordinate ids of the user behind it.
func (p *UserProc) startMapper(helper, file string, uid, own uint32, name string) *mapper {
	m := &mapper{helper: helper, what: "subordinate user ids"}
	flag := "--add-subuids"
	if helper == "newgidmap" {
		m.what, flag = "subordinate group ids", "--add-subgids"
	}
	sub, err := SubIDs(file, uid, name)
	if len(sub) == 0 {
		why := "no line for " + strconv.Quote(name) + " in " + file
		if err != nil {
			why = err.Error()
		}
		m.note = &Note{m.what, why, fmt.Sprintf("usermod %s %s %s", flag, freeRange(file), name)}
		return m
	}
	if m.path, err = exec.LookPath(helper); err != nil {
		m.note = &Note{m.what, helper + " is not installed", "apt-get install uidmap   # or: dnf install shadow-utils"}
		return m
	}
	m.ranges = withSubordinate(own, sub)
	args := []string{m.path, strconv.Itoa(p.Pid)}
	for _, r := range m.ranges {
		for _, n := range []uint32{r.Inside, r.Outside, r.Count} {
			args = append(args, strconv.FormatUint(uint64(n), 10))
		}
	}
	// A file, not a pipe, which would have to be read while it runs.
	fd, err := unix.MemfdCreate(helper, unix.MFD_CLOEXEC)
	if err == nil {
		m.said = os.NewFile(uintptr(fd), helper)
		out := m.said.Fd()
		m.pid, err = syscall.ForkExec(m.path, args, &syscall.ProcAttr{Env: syscall.Environ(), Files: []uintptr{out, out, out}})
	}
	if err != nil {
		m.pid, m.note = 0, helperNote(m.what, m.path, nil, err)
	}
	return m
}

// finishMapper waits for the process, and returns what it has mapped.
func (p *UserProc) finishMapper(m *mapper) []IDRange {
	if m.said != nil {
		defer m.said.Close()
	}
	if m.pid > 0 {
		m.note = m.wait(fmt.Sprintf("/proc/%d/%s", p.Pid, strings.TrimPrefix(m.helper, "new")[:3]+"_map"))
	}
	if m.note != nil {
		p.Notes = append(p.Notes, *m.note)
		return nil
	}
	// For --explain: the privileged write(2) is the helper's own.
	words := strings.Join(strings.Fields(format(m.ranges)), " ")
	p.calls = append(p.calls, fmt.Sprintf("execve(%q, [%s %d %s]) /* and it */ exit_group(0)", m.helper, m.helper, p.Pid, words))
	return m.ranges
}

// wait waits for the mapper and tells what went wrong, nil if nothing did. idMap is the file that
// it writes.
func (m *mapper) wait(idMap string) *Note {
	ws, err := reapProcess(m.pid)
	if err == nil && ws != 0 {
		out := make([]byte, 1024)
		n, _ := m.said.ReadAt(out, 0)
		return helperNote(m.what, m.path, out[:n], fmt.Errorf("exit status %d", exitStatus(ws)))
	}
	if err != nil {
		return helperNote(m.what, m.path, nil, err)
	}
	// Believe the kernel, not the helper.
	written, err := os.ReadFile(idMap)
	if err != nil || len(written) == 0 {
		return &Note{m.what, m.path + " succeeded without doing anything", "reinstall the package it belongs to"}
	}
	return nil
}

// helperNote says why newuidmap or newgidmap failed.
func helperNote(what, path string, out []byte, err error) *Note {
	n := &Note{What: what, Why: fmt.Sprintf("%s: %v: %s", path, err, firstLine(out))}
	if missing := helperPrivilege(path); missing != "" {
		n.Why, n.Fix = missing, "chmod u+s "+path
	}
	return n
}

// helperPrivilege says what keeps newuidmap or newgidmap at path from working:
// it is neither setuid root nor has file capabilities, or its file system is
// mounted nosuid, or this process has no_new_privs set. It returns "" if it is
// all right.
func helperPrivilege(path string) string {
	if v, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0); err == nil && v == 1 {
		return "no_new_privs is set for this process, so setuid programs have no effect"
	}
	var fs unix.Statfs_t
	if unix.Statfs(path, &fs) == nil && fs.Flags&unix.ST_NOSUID != 0 {
		return path + " is on a file system mounted nosuid"
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return err.Error()
	}
	if st.Mode&unix.S_ISUID != 0 && st.Uid == 0 {
		return ""
	}
	if n, err := unix.Getxattr(path, "security.capability", nil); err == nil && n > 0 {
		return ""
	}
	return path + " is neither setuid root nor has file capabilities"
}

// firstLine returns the first line of a helper's output, without control characters.
func firstLine(out []byte) string {
	line, _, _ := bytes.Cut(bytes.TrimSpace(out), []byte("\n"))
	return string(bytes.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, line[:min(len(line), 200)]))
}

// Report tells of the step "user-namespace", as long as the process lives.
func (p *UserProc) Report() Report {
	return Report{
		N: stepNumber("user-namespace"), Step: "user-namespace",
		Calls:  p.calls,
		Before: idNamespaces("self"), After: idNamespaces(strconv.Itoa(p.Pid)),
		Took: p.took,
	}
}

// idNamespaces shows the namespaces that clone(2) makes here, and the id maps, of a process.
func idNamespaces(pid string) string {
	var links []string
	for _, n := range []string{"user", "mnt", "pid"} {
		links = append(links, readlink("/proc/"+pid+"/ns/"+n))
	}
	out := strings.Join(links, " ")
	for _, name := range []string{"uid_map", "gid_map"} {
		var ranges []string
		for line := range strings.Lines(readAll("/proc/" + pid + "/" + name)) {
			ranges = append(ranges, strings.Join(strings.Fields(line), " "))
		}
		out += "\n" + name + " " + strings.Join(ranges, ", ")
	}
	return out
}

func readlink(path string) string {
	s, err := os.Readlink(path)
	if err != nil {
		return err.Error()
	}
	return s
}

// setComm sets the name ps(1) shows for this thread, prctl(2), PR_SET_NAME.
func setComm(name string) error {
	p, err := unix.BytePtrFromString(name)
	if err != nil {
		return err
	}
	return unix.Prctl(unix.PR_SET_NAME, uintptr(unsafe.Pointer(p)), 0, 0, 0)
}
