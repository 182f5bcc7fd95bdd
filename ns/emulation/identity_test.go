package emulation

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const rootCaps = 0xa80425fb // what ns gives root

// TestIdentities: a list of calls, the errors that they return, and who the process is in the end.
func TestIdentities(t *testing.T) {
	type step struct {
		name  string
		args  [6]uint64
		errno unix.Errno
	}
	none := uint64(noID)
	for _, c := range []struct {
		what  string
		caps  uint64
		steps []step
		user  IDs
		group IDs
	}{
		{"gone for good", rootCaps, []step{{"setgid", [6]uint64{44}, 0}, {"setuid", [6]uint64{33}, 0}, {"setuid", [6]uint64{0}, unix.EPERM},
			{"setgid", [6]uint64{0}, unix.EPERM}, {"setresuid", [6]uint64{none, 0, none}, unix.EPERM}}, IDs{33, 33, 33, 33}, IDs{44, 44, 44, 44}},
		{"there and back", rootCaps, []step{{"setresuid", [6]uint64{none, 33, none}, 0}, {"setgid", [6]uint64{5}, unix.EPERM},
			{"setresuid", [6]uint64{none, 0, none}, 0}, {"setgid", [6]uint64{5}, 0}}, IDs{}, IDs{5, 5, 5, 5}},
		{"by the saved one", rootCaps, []step{{"setresuid", [6]uint64{33, 33, 0}, 0}, {"setuid", [6]uint64{7}, unix.EPERM}, {"setuid", [6]uint64{0}, 0}},
			IDs{33, 0, 0, 0}, IDs{}},
		{"swapped", rootCaps, []step{{"setreuid", [6]uint64{33, 44}, 0}, {"setreuid", [6]uint64{44, 33}, 0}, {"setreuid", [6]uint64{5, none}, unix.EPERM}},
			IDs{44, 33, 33, 33}, IDs{}},
		{"for files only", rootCaps, []step{{"setfsuid", [6]uint64{9}, 0}, {"setfsgid", [6]uint64{8}, 0}}, IDs{0, 0, 0, 9}, IDs{0, 0, 0, 8}},
		{"without the capability", rootCaps &^ (1 << unix.CAP_SETUID), []step{{"setuid", [6]uint64{33}, unix.EPERM}, {"setgid", [6]uint64{33}, 0}},
			IDs{}, IDs{33, 33, 33, 33}},
		{"no id", rootCaps, []step{{"setuid", [6]uint64{none}, unix.EINVAL}, {"setgid", [6]uint64{none}, unix.EINVAL}}, IDs{}, IDs{}},
	} {
		s, who := Server{Caps: c.caps}, Identity{}
		for _, step := range c.steps {
			if _, errno, ok := s.change(&who, step.name, &step.args, false); !ok || errno != step.errno {
				t.Errorf("%s: %s%v: %v, want %v", c.what, step.name, step.args, errno, step.errno)
			}
		}
		if who.User != c.user || who.Group != c.group {
			t.Errorf("%s: %v %v, want %v %v", c.what, who.User, who.Group, c.user, c.group)
		}
	}
}

func TestKeptCapabilitiesAreForGroups(t *testing.T) {
	s, who := Server{Caps: rootCaps}, Identity{Keep: true}
	for _, c := range []struct {
		name  string
		id    uint64
		errno unix.Errno
	}{{"setuid", 33, 0}, {"setgid", 33, 0}, {"setuid", 0, unix.EPERM}} {
		if _, errno, _ := s.change(&who, c.name, &[6]uint64{c.id}, false); errno != c.errno {
			t.Errorf("%s(%d): %v, want %v", c.name, c.id, errno, c.errno)
		}
	}
}

func TestMayGive(t *testing.T) {
	user := Identity{User: IDs{33, 33, 33, 33}, Group: IDs{33, 33, 33, 33}, Groups: []uint32{44}}
	for _, c := range []struct {
		owner, group, uid, gid uint32
		want                   bool
	}{
		{33, 33, noID, noID, true}, {33, 33, 33, 33, true}, {33, 33, noID, 44, true}, {33, 7, noID, 7, true},
		{33, 33, 0, noID, false}, {33, 33, noID, 0, false}, {0, 0, noID, 44, false}, {0, 0, 33, noID, false},
	} {
		if got := user.mayGive(c.owner, c.group, c.uid, c.gid, false); got != c.want {
			t.Errorf("a file of %d:%d to %d:%d: %v", c.owner, c.group, int32(c.uid), int32(c.gid), got)
		}
		if !user.mayGive(c.owner, c.group, c.uid, c.gid, true) {
			t.Errorf("root may not give a file of %d:%d away", c.owner, c.group)
		}
	}
}

// TestTableIsBounded: a container cannot make its supervisor remember without end; long lists of
// groups leave room for others; what no process has any more is forgotten.
func TestTableIsBounded(t *testing.T) {
	var table identities
	used := map[uint64]bool{}
	number := func(i *Identity) (uint64, unix.Errno) { return table.number(i, func() map[uint64]bool { return used }) }
	a, b := Identity{User: IDs{1, 1, 1, 1}}, Identity{Groups: make([]uint32, maxGroups)}
	n, errno := number(&a)
	if again, _ := number(&a); errno != 0 || again != n {
		t.Errorf("the same one has numbers %d and %d: %v", n, again, errno)
	}
	for i := range uint64(100) { // all of which are in use
		used[i] = true
		b.Groups[0] = uint32(i)
		_, errno = number(&b)
	}
	if errno != unix.ENOMEM || table.bytes > maxTable {
		t.Errorf("%d bytes are remembered: %v", table.bytes, errno)
	}
	small := Identity{User: IDs{2, 2, 2, 2}, Groups: []uint32{1, 2, 3}}
	last, errno := number(&small)
	if errno != 0 {
		t.Errorf("behind long lists, a small one is %v", errno)
	}
	if got := table.marked(mark + n); got.User != a.User {
		t.Errorf("number %d is %v", n, got)
	}
	for _, soft := range []uint64{0, mark - 1, mark + 5000, 1<<64 - 1} {
		if got := table.marked(soft); got.User != (IDs{}) || len(got.Groups) > 0 {
			t.Errorf("a limit of %#x is %v", soft, got)
		}
	}

	clear(used)
	used[n] = true
	table.swept = table.swept.Add(-time.Hour)
	b.Groups[0] = 1 << 20
	if next, errno := number(&b); errno != 0 || next <= last {
		t.Errorf("after others have ended, the next number is %d, the last one was %d: %v", next, last, errno)
	}
	if got := table.marked(mark + n); got.User != a.User {
		t.Errorf("number %d is %v, and a process has it", n, got)
	}
	if got := table.marked(mark + last); got.User != (IDs{65534, 65534, 65534, 65534}) {
		t.Errorf("number %d is %v, and was forgotten", last, got)
	}
}
