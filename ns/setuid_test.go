package ns

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Programs with the setuid bit: a door that is shut unless it is asked for.

// With no_new_privs off, the filter stays, and set-user-ID programs give what the container has and
// nothing else.
func TestSetuidProgramsWhereTheyAreAskedFor(t *testing.T) {
	each(t, func(t *testing.T, s *sandbox) {
		// A copy, since the file has a name in every test's root, and the client is started by one.
		program, err := os.ReadFile(s.path("root/bin/applet"))
		if err == nil {
			err = os.Remove(s.path("root/bin/applet"))
		}
		if err != nil {
			t.Fatal(err)
		}
		s.write("root/bin/applet", string(program))
		if err := unix.Chmod(s.path("root/bin/applet"), 0o4755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Chmod(s.path("root/tmp"), 0o1777); err != nil {
			t.Fatal(err)
		}
		for _, newPrivs := range []bool{false, true} {
			for _, init := range []bool{false, true} {
				j := s.job("facts-sleep")
				user := pick(s.who.single, "", "user")
				facts := applet1("facts")
				facts.NewPrivs, facts.User = newPrivs, user
				j.Spec.Process.NewPrivs, j.Spec.Process.User, j.Spec.Init = newPrivs, user, init
				j.Execs = []Process{applet1("wait-for", "/tmp/ready"), facts}
				_ = os.Remove(s.path("root/tmp/ready"))
				out := s.run(j)
				list := facts2(t, out)
				if len(list) != 2 {
					t.Fatalf("%d answers: %+v", len(list), out)
				}
				for _, f := range list {
					want(t, "no_new_privs", f.Status["NoNewPrivs"], pick(newPrivs, "0", "1"))
					want(t, "filter", f.Status["Seccomp"], "2")
					want(t, "bounding set", f.Status["CapBnd"], "00000000a80425fb")
					if !s.who.single {
						want(t, "uid", f.Status["Uid"], pick(newPrivs, "1000 0 0 0", "1000 1000 1000 1000"))
						want(t, "effective", f.Status["CapEff"], pick(newPrivs, "00000000a80425fb", "0000000000000000"))
					}
				}
			}
		}
	})
}
