// The command tiffin compose up: the containers of a project are made, each when what it depends on
// is as it should be, and followed.

package cli

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/internal/compose"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

func (p *composition) upCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [SERVICE…]",
		Description: "Containers that are as the files say stay; others are made anew. In the foreground it shows what they\n" +
			"print, restarts them as the files say, and stops them all at Ctrl-C. With --detach nobody restarts them.\n" +
			"A service that waits for another to be healthy waits for its healthcheck, the file's or the image's.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "detach", Aliases: []string{"d"}, Usage: "leave them running"},
			&cli.BoolFlag{Name: "build", Usage: "build images also if they are there"},
			&cli.BoolFlag{Name: "force-recreate", Usage: "make all containers anew"},
			&cli.BoolFlag{Name: "remove-orphans", Usage: "delete containers of services that are no longer in the files"},
			&cli.BoolFlag{Name: "abort-on-container-exit", Usage: "stop them all when one has ended, with its exit status"},
			&cli.BoolFlag{Name: "no-log-prefix", Usage: "no names before the lines"},
			&cli.BoolFlag{Name: "wait", Usage: "like --detach, but not before all are healthy, or run if nobody knows that"},
			&cli.BoolFlag{Name: "no-deps", Usage: "leave alone what the services depend on"},
			&cli.StringSliceFlag{Name: "scale", Usage: "for docker's sake: each service is one container", Hidden: true},
		},
		Action: inStore(func(c *cli.Context, store *image.Store) error {
			for _, s := range c.StringSlice("scale") {
				if !strings.HasSuffix(s, "=1") {
					return fmt.Errorf("--scale %s: each service is one container", s)
				}
			}
			project, err := p.read(c.Args().Slice())
			if err != nil {
				return err
			}
			if c.Bool("no-deps") {
				withoutNeeds(project, c.Args().Slice())
			}
			p.request.Name = project.Name
			if err := p.orphans(c, project); err != nil {
				return err
			}
			wanted, end := context.WithCancelCause(c.Context)
			defer end(nil)
			u := &launching{composition: p, store: store, wanted: wanted, end: end, fresh: c.Bool("force-recreate"), build: c.Bool("build"), services: map[string]*serving{}}
			if err := makeResources(project); err != nil {
				return err
			}
			var signals chan os.Signal // nil: they end this program, and the containers stay
			if !c.Bool("wait") && !c.Bool("detach") {
				signals = make(chan os.Signal, 2)
				signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
				defer signal.Stop(signals)
				patient.Store(true)
			}
			err = u.startAll(project.Services, signals)
			switch {
			case err != nil || c.Bool("detach") && !c.Bool("wait"):
				return err
			case c.Bool("wait"):
				return u.settled()
			}
			return u.follow(signals, c.Bool("abort-on-container-exit"), !c.Bool("no-log-prefix"))
		}),
	}
}

// orphans deals with containers of services that are not in the files.
func (p *composition) orphans(c *cli.Context, project *compose.Project) error {
	all, err := p.members()
	if err != nil || c.Args().Len() > 0 { // the project has only these services then
		return err
	}
	for _, m := range all {
		switch {
		case slices.ContainsFunc(project.Services, func(s compose.Service) bool { return s.Name == m.service }):
		case c.Bool("remove-orphans"):
			if err := errors.Join(client.Stop(m.Container, nil), client.Remove(m.Container, true)); err != nil {
				return err
			}
		default:
			fmt.Fprintf(stderr, "tiffin: note: container %s is of service %s, which the files do not have: --remove-orphans deletes it\n", m.Name, m.service)
		}
	}
	return nil
}

// typed does what a command would with these words behind it.
func typed(cmd *cli.Command, words []string) error {
	words, err := normalise(words, cmd.Flags, false)
	if err == nil {
		err = parseAndRun(cmd, words)
	}
	return err
}

// launching is the start of a project.
type launching struct {
	*composition
	store    *image.Store
	fresh    bool // make all containers anew
	build    bool // build images that are there
	services map[string]*serving
	wanted   context.Context // it is done when no more is to start
	end      context.CancelCauseFunc

	mu    sync.Mutex
	order []*serving // that have started
}

// serving is a service whose container has been started.
type serving struct {
	member
	spec  *compose.Service
	since time.Time // what it has printed before is not shown
}

// startAll starts the services, and stops those that have started when a signal comes meanwhile.
func (u *launching) startAll(services []compose.Service, signals <-chan os.Signal) error {
	done := make(chan error, 1)
	go func() {
		defer close(done)
		for i := range services {
			s := &services[i]
			if err := u.start(s); err != nil {
				done <- errs.Hint(fmt.Errorf("%s: service %s: %w", s.At, s.Name, err), errs.HintOf(err))
				return
			}
		}
	}()
	var sig os.Signal
	select {
	case sig = <-signals:
	case err := <-done:
		if err == nil || len(signals) == 0 {
			return err
		}
		sig = <-signals // which a build has heard, too
	}
	u.mu.Lock()
	u.end(errors.New("it is not to start any more"))
	u.mu.Unlock()
	again, err := stopAll(u.started(), signals)
	if err != nil {
		return err
	}
	if !again {
		select {
		case <-done: // what it waited for has ended; a build or a pull has heard of the signal, and clears up
		case <-signals: // whoever asks again does not want to wait for that
		}
	}
	return exitStatus(128 + int(sig.(unix.Signal)))
}

// ready waits for what a service needs, and makes its image.
func (u *launching) ready(s *compose.Service) error {
	for _, n := range s.Needs {
		if err := u.await(u.services[n.Service], n.Condition); err != nil {
			if !n.Optional {
				return err
			}
			fmt.Fprintf(stderr, "tiffin: note: service %s starts all the same: %v\n", s.Name, err)
		}
	}
	if err := context.Cause(u.wanted); err != nil { // perhaps what it waited for has been stopped
		return err
	}
	if err := u.image(s); err != nil {
		return err
	}
	return context.Cause(u.wanted)
}

// start makes and starts the container of a service when what it needs is there.
func (u *launching) start(s *compose.Service) error {
	if err := u.ready(s); err != nil {
		return err
	}
	v := &serving{spec: s, since: time.Now()}
	ctr, what, err := u.container(s)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err := context.Cause(u.wanted); err != nil {
		return err
	}
	if err := startDetached(u.store, ctr, nil); err != nil {
		return err
	}
	fmt.Fprintf(stderr, "container %s: %s\n", ctr.Name, what)
	v.member = member{ctr, s.Name}
	u.order, u.services[s.Name] = append(u.order, v), v
	return nil
}

// image builds the image of a service, if the file says how and it is not there.
func (u *launching) image(s *compose.Service) error {
	if s.Build == nil {
		return nil
	}
	if _, err := u.store.ResolveLazy(s.Image); err == nil && !u.build {
		return nil
	}
	cmd := buildCommand()
	build := cmd.Action
	cmd.Action = func(c *cli.Context) error {
		c.Context = u.wanted // a signal may have come before the build hears of any
		return build(c)
	}
	return typed(cmd, s.Build)
}

// container finds the container of a service, or makes it, and says which in a word.
func (u *launching) container(s *compose.Service) (*disk.Container, string, error) {
	words := s.Words()
	// Where the files are is no matter.
	words = slices.DeleteFunc(words, func(w string) bool { return strings.HasPrefix(w, "--label="+compose.LabelProject+".") })
	text, err := json.Marshal(words)
	if err != nil {
		return nil, "", err
	}
	sum := sha256.Sum256(text)
	hash := hex.EncodeToString(sum[:])
	all, err := u.members()
	if err != nil {
		return nil, "", err
	}
	what := "started"
	for _, m := range all {
		if m.service != s.Name {
			continue
		}
		if m.Labels[compose.LabelHash] == hash && !u.fresh && u.sameImage(m.Container) {
			if state, err := m.State(); err == nil && state.Alive() {
				what = "running"
			}
			return m.Container, what, nil
		}
		if err := errors.Join(client.Stop(m.Container, nil), client.Remove(m.Container, true)); err != nil {
			return nil, "", err
		}
		what = "made anew and started"
		s.Flags = keepVolumes(s.Flags, m.Container)
	}
	ctr, err := createOf(u.wanted, append([]string{"--label=" + compose.LabelHash + "=" + hash}, s.Words()...))
	return ctr, what, err
}

// keepVolumes adds the volumes without a name of the container before to the flags of the next.
func keepVolumes(flags []string, before *disk.Container) []string {
	flags = slices.Clone(flags)
	for _, v := range before.Volumes {
		if !v.Anonymous {
			continue
		}
		flags = slices.DeleteFunc(flags, func(w string) bool { return w == "--mount=type=volume,target="+v.Target })
		if !slices.ContainsFunc(flags, func(w string) bool {
			name, value, _ := strings.Cut(w, "=")
			return (name == "--volume" || name == "--tmpfs") && slices.Contains(strings.Split(value, ":"), v.Target)
		}) {
			flags = append(flags, "--volume="+v.Name+":"+v.Target)
		}
	}
	return flags
}

// sameImage tells whether the image that the container was made of still has its name.
func (u *launching) sameImage(ctr *disk.Container) bool {
	img, err := u.store.ResolveLazy(ctr.Image)
	return err == nil && string(img.ID) == ctr.ImageID
}

// createOf is `tiffin create` with these words behind it.
func createOf(ctx context.Context, words []string) (ctr *disk.Container, err error) {
	cmd := createCommand()
	cmd.Action = func(c *cli.Context) (err error) {
		c.Context = ctx
		ctr, err = createOnly(c)
		return err
	}
	if words, err = normalise(words, cmd.Flags, true); err == nil {
		err = parseAndRun(cmd, words)
	}
	return ctr, err
}

// await waits until a service is as another one needs it.
func (u *launching) await(v *serving, condition string) error {
	if v == nil {
		return errors.New("what it depends on has not started")
	}
	switch condition {
	case compose.Completed:
		code, err := client.Wait(v.Container)
		if err == nil && code != 0 {
			err = fmt.Errorf("service %s, which it waits for, has ended with status %d", v.service, code)
		}
		return err
	case compose.Healthy:
		return healthy(v)
	}
	return nil
}

// healthy waits until the healthcheck of a service says so.
func healthy(v *serving) error {
	if v.Healthcheck == nil {
		return fmt.Errorf("service %s has no healthcheck, in the file or in its image, so nobody knows when it is healthy", v.service)
	}
	for ; ; time.Sleep(50 * time.Millisecond) {
		s, err := v.State()
		if err != nil {
			return err
		}
		h := v.Health()
		switch {
		case s.Status != disk.Running:
			return fmt.Errorf("service %s ended before it was healthy", v.service)
		case h == nil || h.Status == disk.HealthStarting:
		case h.Status == disk.Healthy:
			return nil
		default:
			err := fmt.Errorf("service %s is unhealthy: the last healthcheck: exit status %d", v.service, h.Log[len(h.Log)-1].ExitCode)
			return errs.Hint(err, "`tiffin inspect -f '{{json .State.Health.Log}}' "+v.Name+"` shows what it printed")
		}
	}
}

// settled waits until all services are healthy, or run if nobody knows that, or have ended well.
func (u *launching) settled() error {
	for _, v := range u.order {
		if v.Healthcheck != nil {
			if err := healthy(v); err != nil {
				return err
			}
			continue
		}
		s, err := v.State()
		if err == nil && s.Status == disk.Exited && s.ExitCode != 0 {
			err = fmt.Errorf("service %s has ended with status %d", v.service, s.ExitCode)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// follow shows what the services print until all have ended. With abort, the
// first that ends stops the others.
func (u *launching) follow(signals <-chan os.Signal, abort, prefix bool) error {
	all := u.started()
	printer := newLinePrinter(all, prefix)
	codes, ended := make(chan int, len(all)), make(chan struct{})
	var following sync.WaitGroup
	for _, v := range u.order {
		following.Go(func() { codes <- u.serve(v, printer) })
	}
	go func() {
		following.Wait()
		close(ended)
	}()
	status := 0
	for running := true; running; {
		select {
		case sig := <-signals:
			status = 128 + int(sig.(unix.Signal))
			running = false
		case status = <-codes:
			running = !abort
			if !abort {
				status = 0
			}
		case <-ended:
			running = false
		}
	}
	var err error
	select {
	case <-ended:
	default:
		_, err = stopAll(all, signals)
		<-ended
	}
	if err == nil && status != 0 {
		err = exitStatus(status)
	}
	return err
}

// started are the containers that have started.
func (u *launching) started() (all []member) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, v := range u.order {
		all = append(all, v.member)
	}
	return all
}

// stopAll stops containers, those that others need last. A signal meanwhile kills them: again tells
// whether there was one.
func stopAll(all []member, signals <-chan os.Signal) (again bool, err error) {
	fmt.Fprintln(stderr, "stopping the containers; once more kills them")
	stopped, asked := make(chan struct{}), make(chan bool, 1)
	go func() {
		select {
		case <-stopped:
			asked <- false
		case <-signals:
			for _, m := range all {
				_ = client.Kill(m.Container, unix.SIGKILL)
			}
			asked <- true
		}
	}()
	err = endMembers(all, func(m member) error { return client.Stop(m.Container, nil) })
	close(stopped)
	return <-asked, err
}

// serve follows one service until its container ends and is not restarted; it returns the exit
// status.
func (u *launching) serve(v *serving, p *linePrinter) int {
	for {
		if !v.spec.Silent {
			_ = v.Logs(disk.LogRange{Follow: true, Tail: -1, Since: v.since}, func(e disk.Entry) error { return p.print(v.member, e) })
			p.flush(v.member)
		}
		code, err := client.Wait(v.Container)
		if err != nil {
			fmt.Fprintf(stderr, "tiffin: %s: %v\n", v.Name, err)
			return exitFailure
		}
		if s, err := v.State(); err != nil || !s.Alive() {
			fmt.Fprintf(stderr, "container %s: exit status %d\n", v.Name, code)
			return code
		}
		v.since = time.Now()
		time.Sleep(50 * time.Millisecond) // its keeper starts it again
	}
}
