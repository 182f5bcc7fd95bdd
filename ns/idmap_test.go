package ns

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
	"tiffin/internal/test/must"
)

func TestSubordinateRanges(t *testing.T) {
	const file = "alice:100000:65536\n# comment\nbob:200000:10\n1001:300000:5\nalice:x:1\nalice:1:0\nalice:4294967295:2\nalice:7\n:1:1\n"
	for _, c := range []struct {
		uid  uint32
		name string
		want []IDRange
	}{
		{1001, "alice", []IDRange{{0, 100000, 65536}, {0, 300000, 5}}},
		{1002, "bob", []IDRange{{0, 200000, 10}}},
		{1003, "carol", nil},
		{1003, "", nil},
	} {
		if got := parseSubIDs(strings.NewReader(file), c.uid, c.name); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	got := withSubordinate(1001, []IDRange{{0, 100000, 65536}, {0, 300000, 5}})
	want(t, "map", format(got), "0 1001 1\n1 100000 65536\n65537 300000 5\n")
	// A range that would run over the end of the ids is left out.
	got = withSubordinate(1, []IDRange{{0, 5, 1<<32 - 2}, {0, 5, 5}})
	want(t, "overflow", len(got), 2)
}

func TestRootPassesOnTheIDsItHas(t *testing.T) {
	for in, out := range map[string]string{
		"         0          0 4294967295\n":    "0 0 4294967295\n",
		"0 1001 1\n1 100000 65536\n":            "0 0 1\n1 1 65536\n",
		"0 1001 1\n5 100000 10\n100 200000 3\n": "0 0 1\n5 5 10\n100 100 3\n",
	} {
		ranges, err := parseMap([]byte(in))
		if err != nil {
			t.Fatal(err)
		}
		want(t, in, format(identity(ranges)), out)
	}
	for _, bad := range []string{"0 0\n", "a b c\n", "0 0 4294967296\n", "1 2 3 4\n"} {
		if _, err := parseMap([]byte(bad)); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestUnmappedOwnersAreShownAsRoot(t *testing.T) {
	m := IDMap{UIDs: []IDRange{{0, 1001, 1}, {1, 100000, 10}}, GIDs: []IDRange{{0, 1001, 1}}}
	for id, shown := range map[uint32]uint32{0: 0, 1: 1, 10: 10, 11: 0, 65534: 0, 1<<32 - 1: 0} {
		want(t, fmt.Sprint("uid ", id), m.MapUID(id), shown)
	}
	want(t, "gid 5", m.MapGID(5), 0)
	want(t, "single", m.Single(), false)
	want(t, "single", IDMap{UIDs: []IDRange{{0, 5, 1}}}.Single(), true)
}

func TestProposedRangeIsFree(t *testing.T) {
	file := t.TempDir() + "/subuid"
	want(t, "no file", freeRange(file), "100000-165535")
	if err := os.WriteFile(file, []byte("a:100000:65536\nb:165536:65536\nc:1:1\nd:4294967295:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want(t, "two users", freeRange(file), "231072-296607")
}

// The helpers are programs that an administrator installed. Whatever they do, a container starts.
func TestBrokenHelperIsANote(t *testing.T) {
	who, ok := withSubIDs()
	if !ok || os.Getuid() != 0 {
		if !ok {
			must.Skip(t, "subids", "/etc/subuid names no user")
		}
		t.Skip("needs root, to become a user with subordinate ids")
	}
	for name, c := range map[string]struct{ script, why string }{
		"fails":       {"#!/bin/sh\necho 'newuidmap: uid range not allowed' >&2\nexit 1\n", "neither setuid root nor has file capabilities"},
		"not there":   {"", "is not installed"},
		"does not do": {"#!/bin/sh\nexit 0\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSandbox(t, who)
			s.mkdir("path")
			if c.script != "" {
				for _, h := range []string{"newuidmap", "newgidmap"} {
					s.write("path/"+h, c.script)
					if err := os.Chmod(s.path("path/"+h), 0o755); err != nil {
						t.Fatal(err)
					}
				}
			}
			s.env = []string{"PATH=" + s.path("path") + ":/bin"}
			if c.script == "" {
				s.env = []string{"PATH=" + s.path("path")}
			}
			out := s.ok(s.job("true"))
			want(t, "one id", out.IDs.Single(), true)
			if !strings.Contains(out.Stderr, "subordinate user ids") || !strings.Contains(out.Stderr, c.why) {
				t.Errorf("notes: %s", out.Stderr)
			}
		})
	}
}

func TestUserNamespaceErrorsSayWhatToDo(t *testing.T) {
	for err, hint := range map[error]string{
		unix.ENOSPC: "max_user_namespaces", unix.EUSERS: "max_user_namespaces",
		unix.EPERM: "tiffin doctor", unix.EINVAL: "CONFIG_USER_NS",
	} {
		e := userNSError(err)
		if !errors.Is(e, err) || !strings.Contains(errs.HintOf(e), hint) {
			t.Errorf("%v: %v; hint: %s", err, e, errs.HintOf(e))
		}
	}
}

// memoryFiles are user files in memory.
type memoryFiles map[string]string

func (m memoryFiles) open(path string) (io.ReadCloser, error) {
	text, ok := m[path]
	if !ok {
		return nil, nil
	}
	return io.NopCloser(strings.NewReader(text)), nil
}

func TestUsersWithoutFiles(t *testing.T) {
	who, err := resolveUser("", memoryFiles{})
	if err != nil || who.UID != 0 || who.GID != 0 || who.Home != "/" {
		t.Errorf("%+v %v", who, err)
	}
	who, err = resolveUser("5:6", memoryFiles{})
	if err != nil || who.UID != 5 || who.GID != 6 {
		t.Errorf("%+v %v", who, err)
	}
	for _, bad := range []string{"name", "0:name", "4294967295", "-1", "4294967296", "1:4294967295"} {
		if who, err := resolveUser(bad, memoryFiles{}); err == nil {
			t.Errorf("%s: %+v", bad, who)
		}
	}
}

func FuzzUser(f *testing.F) {
	f.Add("user:group", "root:x:0:0::/root:\nuser:x:1:2::/home:\n", "group:x:3:user,root\n")
	f.Add("1000", "::::::\nuser:x:1000:-1::::\n", "a:b:c:d:e\n")
	f.Add(":", "user", "group")
	f.Fuzz(func(t *testing.T, user, passwd, group string) {
		who, err := resolveUser(user, memoryFiles{"/etc/passwd": passwd, "/etc/group": group})
		if err != nil {
			return
		}
		if who.UID == 1<<32-1 || who.GID == 1<<32-1 || len(who.Groups) > maxGroups {
			t.Errorf("%+v", who)
		}
	})
}

func FuzzSubIDs(f *testing.F) {
	f.Add("alice:100000:65536\n1001:1:1\n", uint32(1001), "alice")
	f.Add("alice:4294967295:4294967295\nalice:4294967294:2\n", uint32(0), "alice")
	f.Fuzz(func(t *testing.T, file string, uid uint32, name string) {
		ranges := parseSubIDs(strings.NewReader(file), uid, name)
		next := uint64(0)
		for _, r := range withSubordinate(uid, ranges) {
			if r.Count == 0 || uint64(r.Inside) != next || uint64(r.Outside)+uint64(r.Count) > 1<<32 {
				t.Errorf("%+v", r)
			}
			next += uint64(r.Count)
		}
		if next > 1<<32 {
			t.Errorf("%d ids", next)
		}
	})
}

func FuzzTmpfsOptions(f *testing.F) {
	f.Add("size=1m,exec,ro")
	f.Fuzz(func(t *testing.T, options string) {
		_, data := tmpfsOptions(options)
		if utf8.ValidString(options) && !utf8.ValidString(data) || len(data) > len(options) {
			t.Errorf("%q → %q", options, data)
		}
	})
}

func TestRenamedIDs(t *testing.T) {
	one := []IDRange{{0, 1000, 1}}
	many := []IDRange{{0, 1000, 1}, {1, 100000, 500}, {501, 200000, 100}}
	for _, c := range []struct {
		all  []IDRange
		id   uint32
		want []IDRange
	}{
		{one, 0, []IDRange{{0, 0, 1}}}, {one, 33, []IDRange{{33, 0, 1}}},
		{many, 0, []IDRange{{0, 0, 1}, {1, 1, 500}, {501, 501, 100}}},
		{many, 33, []IDRange{{33, 0, 1}, {0, 1, 33}, {34, 34, 467}, {501, 501, 100}}},
		{many, 550, []IDRange{{550, 0, 1}, {0, 1, 500}, {500, 501, 50}, {551, 551, 50}}},
		{many, 5000, []IDRange{{5000, 0, 1}, {0, 1, 500}, {500, 501, 100}}},
	} {
		got := IDMap{UIDs: c.all, GIDs: one}.As(c.id, 7)
		if !slices.Equal(got.UIDs, c.want) || !slices.Equal(got.GIDs, []IDRange{{7, 0, 1}}) {
			t.Errorf("0 as %d of %v: %v", c.id, c.all, got.UIDs)
		}
	}
	m := IDMap{UIDs: one, GIDs: one}.As(33, 44)
	for _, id := range []uint32{0, 33, 1000} {
		if m.MapUID(id) != 33 || m.MapGID(id) != 44 {
			t.Errorf("%d is shown as %d:%d", id, m.MapUID(id), m.MapGID(id))
		}
	}
}
