// The command tiffin bundle --serve: a runtime runs a container of tiffin's, or an image, on
// tiffin's own file system. Nothing is unpacked, and what a container changes is the container's,
// as after a run; an image is read-only in config.json, and what is changed anyway is not kept.
//
//	tiffin               makes DIR, waits for both, and removes DIR
//	 ├─ supervisor       serves the files, as for cp: client.OpenTree
//	 │   └─ init         has them as its root, in the user namespace of the container
//	 └─ tiffin enter     goes there with the mounts that are here, and with a copy of that root
//	     = the runtime   at DIR/rootfs (ns.Enter.RootAt); becomes crun run --bundle DIR …

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/bundle"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func serveBundle(c *cli.Context, store *image.Store) (err error) {
	// From before there is anything that is to be removed in the end.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(signals)
	ctx, prepared := interruptibleWithin(c, 10*time.Second) // it may have to wait for another command
	defer prepared()
	ctr, remove, err := toServe(ctx, c.Args().First())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	tree, err := client.OpenTree(ctr, store)
	if err != nil {
		return err
	}
	finish := sync.OnceFunc(tree.Close) // when no process has the mount any more
	defer finish()
	ids, pid, err := tree.Lent()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(c.Args().Get(1))
	if err != nil {
		return err
	}
	if err := newBundle(ctr.Name, dir, &ctr.Config); err != nil {
		return err
	}
	rootfs := filepath.Join(dir, "rootfs")
	defer func() {
		finish()
		err = errors.Join(err, removeBundle(dir))
	}()
	if err = layOut(dir); err == nil {
		// The runtime is root of the user namespace: it makes another below, with the same ids.
		_, err = describe(dir, &ctr.Config, ids.Below(), true, tree.Open)
	}
	if err != nil {
		return fmt.Errorf("make the bundle %s: %w", dir, err)
	}
	tellLeft(bundle.Left(&ctr.Config, ids, nil))
	prepared()
	return runAt(rootfs, pid, c.Args().Slice()[2:], signals)
}

// toServe is the container of that name, or one of the image, made for this and read-only: remove
// removes that.
func toServe(ctx context.Context, name string) (ctr *disk.Container, remove func() error, err error) {
	remove = func() error { return nil }
	if ctr, err = findContainer(name); errors.Is(err, disk.ErrNotFound) {
		if ctr, err = createOf(ctx, []string{"--read-only", "--", name}); err == nil {
			remove = func() error { return client.Remove(ctr, true) }
		}
	}
	return ctr, remove, err
}

// runAt runs a command that finds the root of a process at dir, and returns its exit status. It
// hands signals on; one that has come before the command is started keeps it from that.
func runAt(dir string, pid int, args []string, signals <-chan os.Signal) error {
	select {
	case sig := <-signals:
		return exitStatus(128 + int(sig.(unix.Signal)))
	default:
	}
	cmd := exec.Command("/proc/self/exe", append([]string{"enter", "--root-at", dir, "--target", strconv.Itoa(pid), "--"}, args...)...)
	cmd.Args[0] = "tiffin"
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case sig := <-signals:
			// Those of the terminal reach the command without our help.
			if sig == unix.SIGTERM || sig == unix.SIGHUP {
				_ = cmd.Process.Signal(sig)
			}
		case err := <-ended:
			var failed *exec.ExitError
			switch ok := errors.As(err, &failed); {
			case !ok:
				return err
			case failed.Exited():
				return exitStatus(failed.ExitCode())
			}
			status, _ := failed.Sys().(syscall.WaitStatus)
			return errs.Code(fmt.Errorf("%s was ended by %s", args[0], unix.SignalName(status.Signal())), 128+int(status.Signal()))
		}
	}
}
