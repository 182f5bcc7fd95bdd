// Who a process pretends to be, and the rules by which that changes: credentials(7).

package emulation

import (
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// IDs are the four user, or group, ids of a process.
type IDs struct{ Real, Effective, Saved, FS uint32 }

// Identity is what a process has in place of the kernel's ids. The zero value is root.
type Identity struct {
	User, Group IDs
	Groups      []uint32 // supplementary
	// Keep is PR_SET_KEEPCAPS, prctl(2): the process may change its groups after it has become
	// another user, as setpriv(1) does. It may not come back from there. execve(2), which is not
	// seen here, would clear it.
	Keep bool
}

// set is setuid(2) and setgid(2). privileged says that the process may take any id.
func (x *IDs) set(id uint32, privileged bool) unix.Errno {
	switch {
	case id == noID:
		return unix.EINVAL
	case privileged:
		*x = IDs{id, id, id, id}
	case id == x.Real || id == x.Saved:
		x.Effective, x.FS = id, id
	default:
		return unix.EPERM
	}
	return 0
}

// setRE is setreuid(2) and setregid(2).
func (x *IDs) setRE(r, e uint32, privileged bool) unix.Errno {
	if !privileged && (!among(r, noID, x.Real, x.Effective) || !among(e, noID, x.Real, x.Effective, x.Saved)) {
		return unix.EPERM
	}
	old := x.Real
	take(&x.Real, r)
	take(&x.Effective, e)
	if r != noID || e != noID && e != old {
		x.Saved = x.Effective
	}
	x.FS = x.Effective
	return 0
}

// setRES is setresuid(2) and setresgid(2).
func (x *IDs) setRES(r, e, s uint32, privileged bool) unix.Errno {
	for _, id := range []uint32{r, e, s} {
		if !privileged && !among(id, noID, x.Real, x.Effective, x.Saved) {
			return unix.EPERM
		}
	}
	take(&x.Real, r)
	take(&x.Effective, e)
	take(&x.Saved, s)
	x.FS = x.Effective
	return 0
}

// setFS is setfsuid(2) and setfsgid(2), which return what was before, and no error.
func (x *IDs) setFS(id uint32, privileged bool) (old uint32) {
	old = x.FS
	if id != noID && (privileged || among(id, x.Real, x.Effective, x.Saved, x.FS)) {
		x.FS = id
	}
	return old
}

func among(id uint32, ids ...uint32) bool { return slices.Contains(ids, id) }

func take(to *uint32, id uint32) {
	if id != noID {
		*to = id
	}
}

// has tells whether a group is one of the process's for the file system.
func (i *Identity) has(gid uint32) bool { return gid == i.Group.FS || slices.Contains(i.Groups, gid) }

// MayGive tells whether the process may give a file of the given owner to uid and gid, of which
// noID leaves one as it is: chown(2), "Only a privileged process". With all it may give away any.
func (i *Identity) mayGive(owner, group, uid, gid uint32, all bool) bool {
	own := owner == i.User.FS
	return all || own && among(uid, noID, owner) && (among(gid, noID, group) || i.has(gid))
}

// key is what two equal identities have in common, and no others.
func (i *Identity) key() string {
	ids := append([]uint32{i.User.Real, i.User.Effective, i.User.Saved, i.User.FS,
		i.Group.Real, i.Group.Effective, i.Group.Saved, i.Group.FS, 0}, i.Groups...)
	if i.Keep {
		ids[8] = 1
	}
	b := make([]byte, 0, 4*len(ids))
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return string(b)
}

// mark is the soft RLIMIT_LOCKS of a process with identity number 0: far above what anybody asks
// for, and not RLIM_INFINITY.
const mark = 0x7469_6666_696e_0000

// identities are those that processes of a container have, by number. No number is given twice: a
// process whose identity is not known any more is nobody, not somebody else.
type identities struct {
	count    atomic.Uint64 // numbers given so far; 0: every process is root
	mu       sync.Mutex
	byNumber map[uint64]Identity
	byKey    map[string]uint64
	bytes    int
	swept    time.Time
}

// number is that of an identity. used tells which numbers processes have. mu locked.
func (t *identities) number(i *Identity, used func() map[uint64]bool) (uint64, unix.Errno) {
	key := i.key()
	if n, ok := t.byKey[key]; ok {
		return n, 0
	}
	// Few lists of many groups are not to leave nothing for others.
	size := 2*len(key) + 64
	if size > (maxTable-t.bytes)/4 {
		t.sweep(used)
	}
	if size > (maxTable-t.bytes)/4 {
		return 0, unix.ENOMEM
	}
	if t.byKey == nil {
		t.byKey, t.byNumber = map[string]uint64{}, map[uint64]Identity{}
	}
	n := t.count.Load()
	t.bytes += size
	t.byNumber[n], t.byKey[key] = *i, n
	t.count.Store(n + 1)
	return n, 0
}

// sweep forgets identities that no process has, at most once in a second.
func (t *identities) sweep(used func() map[uint64]bool) {
	if time.Since(t.swept) < time.Second {
		return
	}
	in := used()
	t.swept = time.Now()
	for key, n := range t.byKey {
		if in != nil && !in[n] {
			delete(t.byKey, key)
			delete(t.byNumber, n)
			t.bytes -= 2*len(key) + 64
		}
	}
}

// marked is the identity that a soft RLIMIT_LOCKS stands for.
func (t *identities) marked(soft uint64) Identity {
	n := soft - mark
	if n >= t.count.Load() {
		return Identity{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i, ok := t.byNumber[n]; ok {
		return i
	}
	const nobody = 65534
	ids := IDs{nobody, nobody, nobody, nobody}
	return Identity{User: ids, Group: ids}
}

// of is the identity of a process.
func (t *identities) of(pid int) Identity {
	if t.count.Load() == 0 {
		return Identity{}
	}
	var limit unix.Rlimit
	if unix.Prlimit(pid, unix.RLIMIT_LOCKS, nil, &limit) != nil {
		return Identity{}
	}
	return t.marked(limit.Cur)
}

// give makes a process, with all its threads, have an identity. EPERM: its hard limit is too low.
func (t *identities) give(pid int, i *Identity, used func() map[uint64]bool) unix.Errno {
	t.mu.Lock() // until the process has it, nobody has
	defer t.mu.Unlock()
	n, errno := t.number(i, used)
	if errno != 0 {
		return errno
	}
	var limit unix.Rlimit
	err := unix.Prlimit(pid, unix.RLIMIT_LOCKS, nil, &limit)
	if err == nil {
		limit.Cur = mark + n
		err = unix.Prlimit(pid, unix.RLIMIT_LOCKS, &limit, nil)
	}
	if err != nil {
		return unix.EPERM
	}
	return 0
}
