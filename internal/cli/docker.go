// Commands and flags that only docker has, and what to use here instead.

package cli

import "strings"

// elsewhere has the advice for commands.
var elsewhere = map[string]string{
	"events": "`tiffin wait` waits for an end, `tiffin trace` shows requests to the file system",
	"search": "registries are searched on their web pages; `tiffin pull` takes any name",
}

// flagsElsewhere has the advice for flags of run and create.
var flagsElsewhere = map[string]string{
	"cgroupns":              "a container with a limit is the root of the control groups that it sees; --limits cgroup does that without a limit",
	"restart":               "nobody is there to restart it: no process of tiffin outlives the container",
	"link":                  "containers in one network find each other by name: `tiffin network create`",
	"mac-address":           "an interface's comes of its IPv4 address, which --ip chooses in a network with a name",
	"pid,uts,cgroup-parent": "--without pid or uts leaves that namespace out",
	"cidfile":               "`tiffin run -d` and `tiffin create` print the id",
}

// commandElsewhere is the advice for a command that only docker has, or "".
func commandElsewhere(name string) string { return elsewhere[name] }

// flagElsewhere is the advice for a flag that only docker has, or "".
func flagElsewhere(name string) string {
	for names, advice := range flagsElsewhere {
		for n := range strings.SplitSeq(names, ",") {
			if n == name {
				return advice
			}
		}
	}
	return ""
}
