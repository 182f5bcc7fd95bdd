// RUN: a container on what there is so far; what it changes is the next layer.

package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"tiffin/image"
	"tiffin/image/cache"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/container/client"
	"tiffin/internal/container/disk"
	"tiffin/internal/dockerfile"
	"tiffin/internal/errs"
)

// run executes a RUN, unless its layer is there.
func (b *builder) run(ctx context.Context, s *state, in *dockerfile.Instruction, step *Step) error {
	if len(in.Words) == 0 {
		return errors.New("RUN has no command")
	}
	cfg := b.container(s, in)
	mounted, err := b.mounts(ctx, s, in)
	defer mounted.close()
	if err != nil {
		return err
	}
	cfg.Volumes = mounted.volumes
	parts, err := b.runParts(s, &cfg, in)
	if err != nil {
		return err
	}
	parts = b.key(s, in, step, append(parts, mounted.parts...))
	r, err := b.layer(ctx, s, step, describe(s, in), parts, func() (*store.BuildRecord, error) {
		if err := mounted.lay(); err != nil {
			return nil, err
		}
		out, end, err := b.Output(*step)
		if err != nil {
			return nil, err
		}
		r, err := b.executed(ctx, s, in, &cfg, parts, mounted.env, out)
		end(err != nil)
		return r, err
	})
	if err != nil {
		return err
	}
	return b.push(s, in, step, r)
}

// executed runs the container, with further variables that nothing keeps, and makes a layer of what
// it leaves.
func (b *builder) executed(ctx context.Context, s *state, in *dockerfile.Instruction, cfg *disk.Config, parts []store.BuildPart, env []string, out *os.File) (r *store.BuildRecord, err error) {
	m, err := b.Store.Prepare(s.layers)
	if err != nil {
		return nil, err
	}
	ctr, hold, status, err := b.command(ctx, cfg, m, env, out)
	if err != nil {
		return nil, err
	}
	defer hold.Close()
	if status != 0 {
		return nil, b.failed(s, in, ctr, status)
	}
	err = client.WriteDiff(ctr, m, func(write func(io.Writer) error) (err error) {
		r, err = b.Store.AddLayer(ctx, s.layers, parts, describe(s, in), write)
		return err
	})
	return r, errors.Join(err, client.Remove(ctr, true))
}

// container describes the container of a RUN.
func (b *builder) container(s *state, in *dockerfile.Instruction) disk.Config {
	c := &s.config.Config
	cfg := disk.Config{
		Image: "(build)", ImageID: image.Chain(s.layers).String(), Transient: true,
		Cmd: s.command(in), Env: disk.MergeEnv(append(append([]string{}, in.Args...), in.Proxy...), c.Env),
		Dir: c.WorkingDir, User: c.User, Network: b.Network, NoLog: true,
	}
	if in.Network != "" {
		cfg.Network = in.Network
	}
	return cfg
}

// runParts is all that the layer of a RUN depends on. Proxies do not count: the Dockerfile
// reference, "Predefined ARGs".
func (b *builder) runParts(s *state, cfg *disk.Config, in *dockerfile.Instruction) ([]store.BuildPart, error) {
	parts := []store.BuildPart{{Name: image.OnStack, Value: imageChain(s.layers)}, {Name: "instruction", Value: in.Name}}
	for _, p := range []struct {
		name  string
		value any
	}{
		{"command", cfg.Cmd}, {"environment", disk.MergeEnv(in.Args, s.config.Config.Env)}, {"user", cfg.User}, {"directory", cfg.Dir}, {"network", cfg.Network},
	} {
		v, err := json.Marshal(p.value)
		if err != nil {
			return nil, err
		}
		parts = append(parts, store.BuildPart{Name: p.name, Value: string(v)})
	}
	return parts, nil
}

// command runs the container to its end, and leaves it, until hold is closed.
func (b *builder) command(ctx context.Context, cfg *disk.Config, m *cache.Mountable, env []string, out *os.File) (ctr *disk.Container, hold *os.File, status int, err error) {
	run, err := disk.RunRoot(b.Store.Root())
	if err != nil {
		return nil, nil, 0, err
	}
	note := func(driver string, why error) {
		fmt.Fprintf(out, "tiffin: note: %v: --driver %s is used\n", why, driver)
	}
	var why error
	if cfg.Driver, why = client.PickDriver(run, cfg.SingleID, false); why != nil {
		note(cfg.Driver, why)
	}
	launch := client.NewLaunch(b.Store.Root(), out, nil).MapIDs(cfg.SingleID)
	ctr, lock, err := b.Containers.Create(*cfg)
	if err != nil {
		launch.Cancel()
		return nil, nil, 0, err
	}
	defer lock.Close()
	defer func() {
		if err != nil && hold != nil {
			hold.Close()
		}
	}()
	if hold, err = ctr.HoldTransient(); err != nil {
		return nil, nil, 0, errors.Join(err, client.Discard(ctr))
	}
	session, err := client.Start(ctr, launch, lock, m, client.StartOptions{Stdout: out, Stderr: out, Tied: true, StepDown: note, GiveUp: ctx.Done(), Env: env})
	if err != nil {
		return nil, hold, 0, errors.Join(err, client.Discard(ctr))
	}
	stop := context.AfterFunc(ctx, func() { _ = client.Kill(ctr, 9) })
	status, err = session.Wait()
	if stop(); ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		lock.Close()
		return nil, hold, 0, errors.Join(err, client.Remove(ctr, true))
	}
	return ctr, hold, status, nil
}

// maxShown is how much of a command an error shows, in characters.
const maxShown = 60

// failed says that a RUN has failed, and how to look at what it found: an image without a name.
func (b *builder) failed(s *state, in *dockerfile.Instruction, ctr *disk.Container, status int) error {
	text := []rune(in.Text)
	if len(text) > maxShown {
		text = append(text[:maxShown], '…')
	}
	err := fmt.Errorf("%s: it ended with status %d", string(text), status)
	advice := ""
	if b.Keep {
		advice = fmt.Sprintf("\nits container is kept: `tiffin diff %s`", ctr.Name)
		if e := ctr.Adopt(); e != nil {
			err = errors.Join(err, e)
		}
	} else if e := client.Remove(ctr, true); e != nil {
		err = errors.Join(err, e)
	}
	before, e := b.Store.Compose(s.base, &s.clone().config, s.layers, nil, nil)
	if e != nil {
		return errors.Join(err, e)
	}
	return errs.Hint(err, fmt.Sprintf("to look into what it found: `tiffin run -it --rm --entrypoint sh %s`", reference.Short(before.ID))+advice)
}
