package cli

import (
	"errors"
	"slices"
	"sync"
	"testing"

	"tiffin/internal/compose"
	"tiffin/internal/container/disk"
)

// TestEndMembers: a container ends after all that depend on it, also if one of them fails, and a
// circle is no reason to wait for ever.
func TestEndMembers(t *testing.T) {
	of := func(service, needs string) member {
		return member{&disk.Container{Config: disk.Config{Name: service, Labels: map[string]string{compose.LabelNeeds: needs}}}, service}
	}
	for _, all := range [][]member{
		{of("db", ""), of("api", "db:service_started:false"), of("web", "api:x:false,db:x:false"), of("job", "db:x:true")},
		{of("a", "b:x:false"), of("b", "a:x:false"), of("c", "a:x:false")},
		{of("self", "self:x:false")},
		nil,
	} {
		var mu sync.Mutex
		var order []string
		err := endMembers(all, func(m member) error {
			mu.Lock()
			defer mu.Unlock()
			order = append(order, m.Name)
			return errors.New(m.Name)
		})
		if (err == nil) != (all == nil) {
			t.Errorf("errors are lost: %v", err)
		}
		for _, pair := range [][2]string{{"web", "api"}, {"api", "db"}, {"job", "db"}, {"c", "a"}} {
			if i, j := slices.Index(order, pair[0]), slices.Index(order, pair[1]); i > j && j >= 0 {
				t.Errorf("%s ends before %s: %q", pair[1], pair[0], order)
			}
		}
		if len(order) != len(all) {
			t.Errorf("%q end, of %d", order, len(all))
		}
	}
}
