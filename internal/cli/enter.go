// The command tiffin enter: a command in the namespaces of another process, as nsenter(1) does it.

package cli

import (
	"fmt"
	"strconv"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

func enterCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] -t PID [COMMAND [ARGUMENT…]]\n       tiffin enter [FLAGS] CONTAINER [COMMAND [ARGUMENT…]]",
		Description: "The process moves into namespaces of another, or of a container's first process,\n" +
			"and becomes the command, or a shell; without a flag, into all of them. Flags and\n" +
			"behaviour are those of nsenter(1). Other than with `tiffin exec`, the command\n" +
			"keeps your environment and all capabilities, and no system call is filtered.",
		Flags: append(newNamespaceFlags(),
			&cli.StringFlag{Name: "target", Aliases: []string{"t"}, Usage: "the process `PID`, as numbered here"},
			&cli.StringFlag{Name: "root-at", Usage: "your own files, with the process's root at `DIR`, in its user namespace"},
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "all namespaces that differ from yours"},
		),
		Action: runEnter,
	}
}

func runEnter(c *cli.Context) error {
	args := c.Args().Slice()
	e := ns.Enter{Flags: cloneFlags(c), Render: rendered}
	if c.Bool("all") {
		e.Flags = 0
	}
	if e.RootAt = c.String("root-at"); e.RootAt != "" && (cloneFlags(c) != 0 || c.Bool("all")) {
		return usagef("--root-at goes with no other namespace")
	}
	if t := c.String("target"); t != "" {
		pid, err := strconv.Atoi(t)
		if err != nil || pid <= 0 {
			return usagef("-t wants the number of a process, not %q", t)
		}
		e.PID = pid
	} else {
		if len(args) == 0 {
			return usagef("expected -t PID or a container")
		}
		ctr, err := findContainer(args[0])
		if err != nil {
			return err
		}
		s, err := ctr.State()
		if err != nil {
			return err
		}
		if s.Status != disk.Running {
			return errs.Hint(fmt.Errorf("container %s is not running", ctr.Name), fmt.Sprintf("`tiffin start %s` runs its command again", ctr.Name))
		}
		if e.PID, args = s.Pid, args[1:]; len(args) == 0 {
			args = []string{"/bin/sh"} // yours may not be in the image
		}
	}
	e.Args = commandOrShell(args)
	return e.Run()
}
