// The command tiffin run: a container is made of an image and a command is run in it. This is the
// main job; what happens after the flags are read is in package client.

package cli

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	digest "github.com/opencontainers/go-digest"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"tiffin/image/cache"
	"tiffin/image/store"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
	"tiffin/ns"
)

func runCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] IMAGE [COMMAND [ARGUMENT…]]",
		Description: "Without --detach the exit status is that of the command, or 128+N if signal N ended it;\n" +
			"125 if tiffin failed, 126 if the command could not be executed, 127 if it was not found.\n" +
			"With -it, Ctrl-P Ctrl-Q, or the --detach-keys, leave the container running. If its terminal or this client\n" +
			"is gone, a container goes on, and `tiffin attach` finds it; one with --rm and neither -t nor --name gets\n" +
			"SIGHUP, its stop signal a second later, and SIGKILL after its stop timeout.\n" +
			"--explain tells what is done on the way to the command, --step waits there, --without leaves a step\n" +
			"out, and `tiffin explain --script` writes it all down for a shell.",
		Flags: append(append(createFlags(),
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "leave it running and print its id"},
			&cli.StringSliceFlag{Name: "attach", Aliases: []string{"a"}, Usage: "show only this `STREAM` of the command, stdout or stderr; the log has both"},
			&cli.BoolFlag{Name: "rmi", Usage: "with --rm, delete the image, too, unless another container needs it"},
			newExplainFlag(), stepFlag(), predictFlag(), detachKeysFlag(), sigProxyFlag()), traceFlags()...),
		Action: takes(1, -1, "an image", func(c *cli.Context) error {
			return runContainer(c, func(t *terminal) (*onlookers, error) { return newOnlookers(c, t) })
		}),
	}
}

// onlookers are told what becomes of a run.
type onlookers struct {
	trace   func(*disk.Container) *client.Tracing          // nil: its requests are not asked for
	explain func(*ns.Spec, ns.Report, *client.Pause) error // or nil
	done    func(*disk.Container) error
}

// newOnlookers are those that the flags of run ask for.
func newOnlookers(c *cli.Context, t *terminal) (*onlookers, error) {
	trace, endTrace, err := runTrace(c)
	if err != nil {
		return nil, err
	}
	explain, err := newStepper(c, t)
	return &onlookers{
		trace:   func(*disk.Container) *client.Tracing { return trace },
		explain: explain,
		done:    func(*disk.Container) error { return endTrace() },
	}, err
}

// runContainer makes a container and runs its command, before onlookers.
func runContainer(c *cli.Context, look func(*terminal) (*onlookers, error)) error {
	detach := c.Bool("detach")
	t, err := terminalOf(c, c.Bool("tty"), c.Bool("interactive"))
	if err != nil {
		return err
	}
	if !detach {
		if err := t.check(); err != nil {
			return err
		}
	}
	if detach {
		t = nil
	}
	streams, err := attached(c)
	if err != nil {
		return err
	}
	seen, err := look(t)
	if err != nil {
		return err
	}
	l, err := launch()
	if err != nil {
		return err
	}
	l.MapIDs(c.String("userns") == "single")
	ctr, lock, m, err := createContainer(c, !detach, false)
	if err != nil {
		l.Cancel()
		return err
	}
	o := client.StartOptions{Explain: seen.explain, Tied: tied(c), Stdout: streams[0], Stderr: streams[1]}
	if seen.trace != nil {
		o.Trace = seen.trace(ctr)
	}
	if driverFlag(c) == "" && ctr.Upper == "" {
		o.StepDown = noteDriver
	}
	if detach {
		return runDetached(l, ctr, lock, m, o)
	}
	t.unproxied = !c.Bool("sig-proxy")
	if !o.Tied {
		t.name = ctr.Name
	}
	err = t.follow(func() (*client.Session, error) {
		s, err := start(l, ctr, lock, m, true, t, o)
		if err == nil {
			go sweep() // while the command runs anyway
		}
		return s, err
	})
	err = joinQuietly(err, seen.done(ctr))
	if c.Bool("rmi") {
		err = joinQuietly(err, removeImage(ctr))
	}
	return err
}

// attached are where the command's output goes, standard output and standard error: docker-run(1),
// --attach.
func attached(c *cli.Context) (to [2]*os.File, err error) {
	to = [2]*os.File{os.Stdout, os.Stderr}
	if c.Bool("rmi") && (!c.Bool("rm") || c.Bool("detach")) {
		return to, errs.Hint(errors.New("--rmi is for a container that is deleted at its end, in the foreground"), "add --rm, and no --detach")
	}
	wanted := c.StringSlice("attach")
	if len(wanted) == 0 {
		return to, nil
	}
	if c.Bool("detach") {
		return to, errors.New("--attach and --detach contradict each other")
	}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		return to, err
	}
	shown := [2]*os.File{null, null}
	for _, s := range wanted {
		switch strings.ToLower(s) {
		case "stdin": // what -i says
		case "stdout":
			shown[0] = to[0]
		case "stderr":
			shown[1] = to[1]
		default:
			return to, fmt.Errorf("--attach %s is none of stdin, stdout and stderr", s)
		}
	}
	return shown, nil
}

// removeImage deletes the image of a container that is gone, unless another one needs it.
func removeImage(ctr *disk.Container) error {
	store, err := openStore()
	if err != nil {
		return err
	}
	used, err := store.Uses()
	if err == nil && !used[digest.Digest(ctr.ImageID)] {
		_, err = store.Remove(ctr.Image, false)
	}
	return err
}

// tied tells whether the container of run ends with its client: nobody could find it again, or
// would miss it.
func tied(c *cli.Context) bool {
	return c.Bool("rm") && !c.Bool("tty") && !c.IsSet("name") && !c.Bool("detach")
}

func runDetached(l *client.Launch, ctr *disk.Container, lock *os.File, m *cache.Mountable, o client.StartOptions) error {
	s, err := start(l, ctr, lock, m, true, nil, o)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, ctr.ID)
	err = s.Detach()
	sweep()
	return err
}

// sweep deletes what killed commands have left.
func sweep() {
	if set, err := containers(); err == nil {
		client.Sweep(set)
	}
}

// launch begins to start the supervisor of run, once: it comes up while the flags are read and the
// container is made. If there will be no container, it ends with this process.
var launch = sync.OnceValues(newLaunch)

func newLaunch() (*client.Launch, error) {
	root, err := store.DefaultRoot()
	if err != nil {
		return nil, err
	}
	return client.NewLaunch(root, os.Stderr, nil), nil
}

// start starts a container whose lock is held, and gives the lock away. With a terminal t it runs
// in the foreground. If it fails, a fresh container is deleted if it has --rm, and kept as created
// if not. start sets the fields of o that concern t.
func start(l *client.Launch, ctr *disk.Container, lock *os.File, m *cache.Mountable, fresh bool, t *terminal, o client.StartOptions) (*client.Session, error) {
	defer lock.Close()
	if t == nil {
		o.Stdout, o.Stderr = nil, nil
	} else {
		o.Stdout, o.Stderr = cmp.Or(o.Stdout, os.Stdout), cmp.Or(o.Stderr, os.Stderr)
		o.Rows, o.Cols = t.size()
		o.GiveUp, o.Caught = t.giveUp, t.caught
	}
	bar := newUnpacking()
	o.Unpacking = bar.show
	s, err := client.Start(ctr, l, lock, m, o)
	bar.stop()
	if err == nil {
		for _, n := range s.Notes {
			fmt.Fprintf(stderr, "tiffin: note: %s: %s\n", n.What, n.Why)
		}
		return s, nil
	}
	if fresh && ctr.AutoRemove {
		err = joinQuietly(err, client.Discard(ctr))
	} else {
		err = joinQuietly(err, ctr.Commission(err))
	}
	return nil, err
}

// joinQuietly adds a second error to the message of the first, whose advice
// and exit status stay.
func joinQuietly(err, second error) error {
	if second == nil {
		return err
	}
	return errs.Code(errs.Hint(errors.Join(err, second), errs.HintOf(err)), errs.CodeOf(err, exitUsage))
}

// isTerminal reports whether f is a terminal.
func isTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }
