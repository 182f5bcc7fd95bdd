package control

import "testing"

func TestTraceFilter(t *testing.T) {
	for _, e := range []struct {
		filter   TraceFilter
		op, path string
		want     bool
	}{
		{TraceFilter{}, "READ", "/a", true},
		{TraceFilter{Path: "/"}, "READ", "/a", true},
		{TraceFilter{Path: "/a"}, "READ", "/a", true},
		{TraceFilter{Path: "/a/"}, "READ", "/a/b", true},
		{TraceFilter{Path: "/a"}, "READ", "/ab", false},
		{TraceFilter{Ops: []string{"WRITE", "READ"}}, "READ", "/a", true},
		{TraceFilter{Ops: []string{"WRITE"}}, "READ", "/a", false},
	} {
		if got := e.filter.Match(e.op, e.path); got != e.want {
			t.Errorf("%+v matches %s %s: %v", e.filter, e.op, e.path, got)
		}
	}
}
