// Events: what the difference between two looks at a container is called.

package cli

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"tiffin/internal/container/disk"
)

func TestEventsAreTheDifferencesBetweenTwoLooks(t *testing.T) {
	now := time.Unix(1000, 0)
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	box := &disk.Container{Config: disk.Config{ID: strings.Repeat("ab", 32), Name: "box", Image: "i", Created: at(1)}}
	other := &disk.Container{Config: box.Config}
	other.Name = "crate"
	none, made := glance{}, glance{c: box, s: disk.State{Status: disk.Created}}
	runs := glance{c: box, s: disk.State{Status: disk.Running, Started: at(2)}}
	paused := glance{c: box, s: disk.State{Status: disk.Running, Started: at(2), Paused: true}, health: "healthy"}
	ended := glance{c: box, s: disk.State{Status: disk.Exited, Started: at(2), Finished: at(3), ExitCode: 7}}
	killed := glance{c: other, s: disk.State{Status: disk.Exited, Started: at(2), Finished: at(3), ExitCode: 137, OOMKilled: true}}
	again := glance{c: box, s: disk.State{Status: disk.Running, Started: at(5), Finished: at(3)}}
	unread := glance{c: box, s: disk.State{Status: disk.Running, Started: at(2), Error: "read a file"}}
	failed := glance{c: box, s: disk.State{Status: disk.Created, Error: "no command"}} // run has said it
	for _, e := range []struct {
		a, b glance
		want string
	}{
		{none, made, "create@1"}, {none, ended, "create@1 start@2 die=7@3"}, {made, runs, "start@2"}, {runs, runs, ""},
		{runs, paused, "pause@1000 health_status: healthy@1000"}, {paused, runs, "unpause@1000"},
		{runs, ended, "die=7@3"}, {runs, killed, "rename@1000 oom@3 die=137@3"}, {ended, ended, ""},
		{runs, unread, "error@1000"}, {unread, unread, ""}, {unread, runs, ""}, {made, failed, ""},
		{ended, again, "start@5"}, {runs, again, "die=0@5 start@5"}, {made, none, "destroy@1000"}, {runs, none, "die=137@1000 destroy@1000"},
	} {
		var got []string
		for _, ev := range differences(e.a, e.b, now) {
			word := ev.Action
			if code, ok := ev.Actor.Attributes["exitCode"]; ok {
				word += "=" + code
			}
			got = append(got, fmt.Sprint(word, "@", ev.Time))
		}
		if text := strings.Join(got, " "); text != e.want {
			t.Errorf("from %+v to %+v: %s, want %s", e.a.s, e.b.s, text, e.want)
		}
	}
}
