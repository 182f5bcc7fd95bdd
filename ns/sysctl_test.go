// Settings of namespaces: which are taken, and which belong to others.

package ns

import (
	"strings"
	"testing"
)

// TestSysctlsOfTheMachineAreRefused: only those of a network, an IPC or a pid namespace of the
// container's own are taken.
func TestSysctlsOfTheMachineAreRefused(t *testing.T) {
	for arg, said := range map[string]string{
		"net.ipv4.ip_forward=1": "", "net/core/somaxconn=5": "", "kernel.shmmax=1=2": "", "fs.mqueue.msg_max=": "", "kernel.sem=250 32000": "", "kernel.ns_last_pid=7": "",
		"kernel.pid_max=5": "whole machine", "vm.overcommit_memory=1": "whole machine", "kernel.shm=1": "whole machine", "fs.file-max=1": "whole machine",
		"net.ipv4": "not NAME=VALUE", "=1": "not NAME=VALUE", "net...ip_forward=1": "not NAME=VALUE", "net.a=\n": "not NAME=VALUE", "net/../kernel/pid_max=1": "not NAME=VALUE",
	} {
		_, err := ParseSysctl(arg)
		if (err == nil) != (said == "") || err != nil && !strings.Contains(err.Error(), said) {
			t.Errorf("%q: %v, want %q", arg, err, said)
		}
	}
	for _, s := range []Spec{{Network: "host"}, {Network: SharedNetwork + "x"}, {Without: []string{"net"}}} {
		if c, _ := ParseSysctl("net.ipv4.ip_forward=1"); s.sharer(c) == "" {
			t.Errorf("%+v has a network of its own", s)
		}
		if c, _ := ParseSysctl("kernel.msgmax=1"); s.sharer(c) != "" {
			t.Errorf("%+v has the queues of %s", s, s.sharer(c))
		}
	}
	for _, s := range []Spec{{HostIPC: true}, {Without: []string{"ipc"}}, {Without: []string{"pid"}}} {
		queues, _ := ParseSysctl("kernel.msgmax=1")
		numbers, _ := ParseSysctl("kernel.ns_last_pid=1")
		if (s.sharer(queues) == "") == s.hostIPC() || (s.sharer(numbers) == "") == s.leavesOut("pid") {
			t.Errorf("%+v has the queues of %q and the numbers of %q", s, s.sharer(queues), s.sharer(numbers))
		}
	}
}

// TestGroupsAreAdded by name or number, each once, to those of the user.
func TestGroupsAreAdded(t *testing.T) {
	files := memoryFiles{"/etc/passwd": "u:x:5:6::/:\n", "/etc/group": "a:x:7:u\nb:x:8:\n"}
	for add, groups := range map[string]string{"": "7", "b": "7 8", "9 7 b 9": "7 9 8", KeepGroups: "7", "nobody": "unable to find group nobody"} {
		who, err := resolveUser("u", files)
		if err == nil {
			err = addGroups(&who, strings.Fields(add), files)
		}
		var got []string
		for _, g := range who.Groups {
			got = append(got, string(rune('0'+g)))
		}
		if text := strings.Join(got, " "); err != nil && !strings.HasPrefix(err.Error(), groups) || err == nil && text != groups {
			t.Errorf("%q: %s %v, want %s", add, text, err, groups)
		}
	}
}
