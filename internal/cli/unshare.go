// The command tiffin unshare: a command in new namespaces, as unshare(1) does it.

package cli

import (
	"os"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/ns"
)

// namespaceFlags are those of unshare(1) and nsenter(1).
var namespaceFlags = []struct {
	name, letter, what string
	flag               uintptr
}{
	{"user", "U", "user namespace: ids and capabilities", unix.CLONE_NEWUSER},
	{"mount", "m", "mount namespace: the tree of files", unix.CLONE_NEWNS},
	{"pid", "p", "pid namespace: process numbers; for children only", unix.CLONE_NEWPID},
	{"net", "n", "network namespace", unix.CLONE_NEWNET},
	{"uts", "u", "uts namespace: the host name", unix.CLONE_NEWUTS},
	{"ipc", "i", "ipc namespace: System V IPC, message queues", unix.CLONE_NEWIPC},
	{"cgroup", "C", "cgroup namespace: the root of control groups", unix.CLONE_NEWCGROUP},
}

func newNamespaceFlags() (flags []cli.Flag) {
	for _, f := range namespaceFlags {
		flags = append(flags, &cli.BoolFlag{Name: f.name, Aliases: []string{f.letter}, Usage: f.what})
	}
	return flags
}

func cloneFlags(c *cli.Context) (flags uintptr) {
	for _, f := range namespaceFlags {
		if c.Bool(f.name) {
			flags |= f.flag
		}
	}
	return flags
}

func unshareCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [COMMAND [ARGUMENT…]]",
		Description: "The process moves into new namespaces and becomes the command, or $SHELL.\n" +
			"The flags are some of unshare(1)'s, and do the same. Without -f nothing is forked:\n" +
			"then only the command's children are in the new pid namespace, and its first\n" +
			"child's end is the end of it.",
		Flags: append(newNamespaceFlags(),
			&cli.BoolFlag{Name: "map-root-user", Aliases: []string{"r"}, Usage: "be root in the user namespace; implies --user"},
			&cli.BoolFlag{Name: "fork", Aliases: []string{"f"}, Usage: "run the command as a child, and exit as it does"},
			&cli.BoolFlag{Name: "mount-proc", Usage: "mount a /proc for the new pids; implies --mount"},
			&cli.StringFlag{Name: "propagation", Value: "private", Usage: "of all mounts: `private`, shared, slave, unchanged"},
		),
		Action: runUnshare,
	}
}

func runUnshare(c *cli.Context) error {
	u := ns.Unshare{
		Flags: cloneFlags(c), MapRoot: c.Bool("map-root-user"), Fork: c.Bool("fork"), MountProc: c.Bool("mount-proc"),
		Args: commandOrShell(c.Args().Slice()), Render: rendered,
	}
	if u.MapRoot {
		u.Flags |= unix.CLONE_NEWUSER
	}
	if u.MountProc {
		u.Flags |= unix.CLONE_NEWNS
	}
	switch p := c.String("propagation"); p {
	case "private":
		u.Propagation = unix.MS_PRIVATE
	case "shared":
		u.Propagation = unix.MS_SHARED
	case "slave":
		u.Propagation = unix.MS_SLAVE
	case "unchanged":
	default:
		return usagef("--propagation is private, shared, slave or unchanged, not %q", p)
	}
	return u.Run()
}

// commandOrShell is what to run: args, or the user's shell.
func commandOrShell(args []string) []string {
	if len(args) > 0 {
		return args
	}
	if sh := os.Getenv("SHELL"); sh != "" {
		return []string{sh}
	}
	return []string{"/bin/sh"}
}

// rendered is what printError prints.
func rendered(err error) string {
	var b strings.Builder
	printError(&b, err)
	return b.String()
}
