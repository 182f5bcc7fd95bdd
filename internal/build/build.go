// A build from its beginning to its end: what is to be built, in which order, and what becomes of
// it.

package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	dockerspec "github.com/moby/docker-image-spec/specs-go/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/image/store"
	"tiffin/image/transfer"
	"tiffin/internal/container/disk"
	"tiffin/internal/dockerfile"
	"tiffin/internal/network"
)

// Options say what is built, and how.
type Options struct {
	Store      *image.Store
	Containers *disk.Set

	File    string // name of the Dockerfile, for messages
	Text    []byte
	Context *Context
	Target  string            // stage; "" = the last
	System  oci.Platform      // that the image is for
	Args    map[string]string // build arguments
	Labels  []string          // KEY=VALUE, for the image
	Names   []string          // for the image, with or without a tag
	Secrets map[string]Secret // for RUN --mount=type=secret, by id
	Agents  map[string]string // sockets for RUN --mount=type=ssh, by id; absolute paths
	NoCache bool
	Squash  bool   // put one layer on the base instead of several
	Check   bool   // only warn: nothing runs, and there is no image
	Explain bool   // say in Step.Explained why steps are made again
	Keep    bool   // leave the container of a RUN that fails
	Network string // of RUN, as disk.Config has it

	Inline bool // the image carries the cache of its steps
	// Caches are asked for the layers of steps that are not here.
	Caches []*Cache
	// Made is told of each step with a layer when all are done, and whether the layer is in the
	// image. May be nil.
	Made func(r *store.BuildRecord, inImage bool)

	// Base finds the image that a FROM or --from names, or fetches it. platform is OS/ARCH or "".
	Base func(ctx context.Context, name, platform string) (*image.Image, error)
	// Output makes the file where the RUN of a step prints. end is called when it has ended.
	Output func(Step) (f *os.File, end func(failed bool), err error)
	// Report is told of each step when it begins, and again when it has ended; of steps of several
	// stages at once, one after the other. May be nil.
	Report func(Step)
	// Warn is told of each thing that BuildKit's checks find, and of arguments that nothing takes.
	// May be nil.
	Warn func(*dockerfile.Note)
}

// Secret is a file, by its absolute path, or if that is "", a text.
type Secret struct{ File, Text string }

// Step is an instruction that is executed.
type Step struct {
	Stage         string // name or number of the stage; "" if there is one only
	Order         int    `json:"-"` // of the stage, in the Dockerfile
	Number, Steps int    // in the stage; FROM is 1
	Text          string // the instruction
	Ended         bool
	Cached        bool   // Ended: the layer was here already
	From          string `json:",omitempty"` // Ended: name of the cache that the layer came from
	Layer         string // Ended: digest of the layer that was added, or ""
	Bytes         int64  // Ended: of that layer, compressed
	Failed        bool   // Ended, but with an error

	Explained *Explained `json:",omitempty"` // Ended: of a step with a layer, if it was asked for
}

// state is what a stage has come to.
type state struct {
	base   []byte // config of the image that it began with, as JSON; nil: none
	config dockerspec.DockerOCIImage
	layers []oci.Layer
	below  int  // how many of them the image has that it began with
	cmdSet bool // by this stage: ENTRYPOINT does not reset CMD then
}

// platform is OS/ARCH[/VARIANT] of the image.
func (s *state) platform() string {
	p := s.config.Platform
	return oci.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}.String()
}

// clone is a copy that can be changed.
func (s *state) clone() *state {
	c := *s
	cfg := &c.config.Config
	cfg.Env, cfg.OnBuild = slices.Clone(cfg.Env), slices.Clone(cfg.OnBuild)
	cfg.Labels, cfg.Volumes, cfg.ExposedPorts = copyMap(cfg.Labels), copyMap(cfg.Volumes), copyMap(cfg.ExposedPorts)
	c.config.History, c.layers, c.cmdSet = slices.Clone(c.config.History), slices.Clone(c.layers), false
	return &c
}

// builder is a build that goes on.
type builder struct {
	Options
	file    *dockerfile.File
	done    []*state        // by stage, as soon as built says so
	built   []chan struct{} // by stage; closed: it is built
	turns   chan struct{}   // has room for as many steps as may be executed at once
	steps   sync.Map        // *made by the digest of their parts
	journal *journal
	hold    *image.Building // under mu, too

	mu     sync.Mutex // for what follows, and calls of Report
	reader *dockerfile.Reader
	others map[string]*state // what images have been found
}

// Build builds the image; nil with Check. Errors that are a *dockerfile.Note have a place in the
// Dockerfile.
func Build(ctx context.Context, o Options) (*image.Image, error) {
	b := &builder{Options: o, others: map[string]*state{}}
	var err error
	if b.reader, err = dockerfile.Open(o.Store.Root(), o.File); err != nil {
		return nil, err
	}
	defer b.reader.Close()
	b.reader.Warn = o.Warn
	b.file, err = b.reader.Parse(dockerfile.Parse{Text: o.Text, Args: o.Args, Target: o.Target, Platform: oci.ThisMachine().String(), System: o.System.String(),
		Host: o.Network == network.Host})
	if err != nil {
		return nil, err
	}
	for _, name := range b.file.Unused {
		if o.Warn != nil {
			o.Warn(&dockerfile.Note{File: o.File, Message: "no ARG takes the build argument " + name})
		}
	}
	if b.hold, err = o.Store.Begin(); err != nil {
		return nil, err
	}
	defer b.hold.Close()
	defer o.Context.remember()
	b.journal = openJournal(&o)
	if !o.Check {
		defer b.journal.close()
	}
	order := b.order()
	for _, n := range order { // before anything runs
		if err := b.bases(ctx, &b.file.Stages[n]); err != nil {
			return nil, err
		}
	}
	if err := b.stages(ctx, order); err != nil {
		return nil, err
	}
	if o.Check {
		return nil, nil
	}
	b.tell(b.done[b.file.Target])
	return b.publish(ctx, b.done[b.file.Target])
}

// bases finds or fetches the images that a stage needs.
func (b *builder) bases(ctx context.Context, in *dockerfile.Stage) error {
	for _, name := range in.Images {
		if _, err := b.fromImage(ctx, name, ""); err != nil {
			return b.at(in.Line, err)
		}
	}
	if in.From >= 0 || in.Base == "scratch" {
		return nil
	}
	_, err := b.fromImage(ctx, in.Base, in.Platform)
	return b.at(in.Line, err)
}

// publish makes an image of a state.
func (b *builder) publish(ctx context.Context, s *state) (*image.Image, error) {
	s = s.clone()
	if b.Squash {
		if err := b.squash(ctx, s); err != nil {
			return nil, fmt.Errorf("squash: %w", err)
		}
	}
	for _, l := range b.Labels {
		k, v, _ := strings.Cut(l, "=")
		s.config.Config.Labels[k] = v
	}
	var inline []byte
	if b.Inline {
		var err error
		if inline, err = transfer.InlineCache(s.layers, b.records()); err != nil {
			return nil, err
		}
	}
	return b.Store.Compose(s.base, &s.config, s.layers, b.Names, inline)
}

// fromImage is the state that an image is.
func (b *builder) fromImage(ctx context.Context, name, platform string) (*state, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.others[name+" "+platform]; s != nil {
		return s, nil
	}
	img, err := b.Base(ctx, name, platform)
	if err != nil {
		return nil, err
	}
	if err := b.hold.Hold(img.ID, img.Layers); err != nil {
		return nil, err
	}
	raw, err := b.Store.RawConfig(img)
	if err != nil {
		return nil, err
	}
	s := &state{base: raw, layers: img.Layers, below: len(img.Layers)}
	if err := oci.Unmarshal(raw, &s.config); err != nil {
		return nil, fmt.Errorf("read the config of %s: %w", name, err)
	}
	s.config.Image.Config = ocispec.ImageConfig{} // it is in Config
	image.FitHistory(&s.config.Image)
	b.others[name+" "+platform] = s
	return s, nil
}

// scratch is the state without any layer. As BuildKit does, it has docker's PATH.
func scratch(p oci.Platform) *state {
	s := &state{config: dockerspec.DockerOCIImage{Image: ocispec.Image{Platform: ocispec.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}}}}
	s.config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return s
}

// stage builds stage n, whose needs have been built.
func (b *builder) stage(ctx context.Context, n int) (*state, error) {
	in := &b.file.Stages[n]
	if err := b.wait(ctx, in.From); err != nil {
		return nil, err
	}
	from := scratch(b.System)
	var err error
	switch {
	case in.From >= 0:
		from = b.done[in.From]
	case in.Base != "scratch":
		if from, err = b.fromImage(ctx, in.Base, in.Platform); err != nil {
			return nil, b.at(in.Line, err)
		}
		if got, want := from.platform(), cmp.Or(in.Platform, b.System.String()); got != want && strings.Count(got, "/") == strings.Count(want, "/") {
			b.rule(in.Line, "InvalidBaseImagePlatform", "Base image %s was pulled with platform %q, expected %q for current build", in.Base, got, want)
		}
	}
	s := from.clone()
	cfg := &s.config.Config
	list, err := b.instructions(dockerfile.Base{Stage: n, Env: cfg.Env, OnBuild: cfg.OnBuild})
	if err != nil {
		return nil, err
	}
	cfg.OnBuild = nil // they are done here: the Dockerfile reference, "ONBUILD"
	name := ""
	if len(b.file.Stages) > 1 {
		if name = in.Name; name == "" {
			name = fmt.Sprint(n)
		}
	}
	b.journal.begin(name, list)
	step := Step{Stage: name, Order: n, Steps: len(list) + 1, Number: 1, Text: in.Text}
	b.report(step)
	step.Ended = true
	b.report(step)
	for i := range list {
		step := Step{Stage: name, Order: n, Steps: len(list) + 1, Number: i + 2, Text: list[i].Text}
		if err := b.step(ctx, s, &list[i], step); err != nil {
			return nil, b.at(list[i].Line, err)
		}
	}
	b.journal.finish(name)
	return s, nil
}

// step executes an instruction when its turn has come.
func (b *builder) step(ctx context.Context, s *state, in *dockerfile.Instruction, step Step) error {
	if err := b.needed(ctx, step.Order, in); err != nil {
		return err
	}
	end, err := b.turn(ctx)
	if err != nil {
		return err
	}
	defer end()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.report(step)
	err = b.execute(ctx, s, in, &step)
	step.Ended, step.Failed = true, err != nil
	b.report(step)
	return err
}

func (b *builder) instructions(base dockerfile.Base) ([]dockerfile.Instruction, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.reader.Instructions(base)
}

func (b *builder) report(s Step) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Report != nil {
		b.Report(s)
	}
}

// warn tells of an instruction that does not do what it seems to.
func (b *builder) warn(in *dockerfile.Instruction, message string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Warn != nil {
		b.Warn(&dockerfile.Note{File: b.File, Line: in.Line, Message: message})
	}
}

// rule warns by one of BuildKit's checks.
func (b *builder) rule(line int, name, format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.Warn != nil {
		b.Warn(&dockerfile.Note{File: b.File, Line: line, Message: fmt.Sprintf(format, args...), Rule: name})
	}
}

// checkIgnored warns of sources that .dockerignore names.
func (b *builder) checkIgnored(in *dockerfile.Instruction) {
	if in.Copy.From != "" || b.Context == nil {
		return
	}
	for _, source := range in.Copy.Sources {
		if name := inside(source); name != "" && !hasWildcard(source) && b.Context.hidden(name) {
			b.rule(in.Line, "CopyIgnoredFile", "Attempting to %s file %q that is excluded by .dockerignore", strings.ToUpper(in.Name[:1])+in.Name[1:], source)
		}
	}
}

// at says where in the Dockerfile an error belongs.
func (b *builder) at(line int, err error) error {
	var n *dockerfile.Note
	if err == nil || line == 0 || errors.As(err, &n) {
		return err
	}
	return fmt.Errorf("%s:%d: %w", b.File, line, err)
}

// execute does what an instruction says.
func (b *builder) execute(ctx context.Context, s *state, in *dockerfile.Instruction, step *Step) error {
	switch in.Name {
	case "copy", "add":
		b.checkIgnored(in)
		fallthrough
	case "run", "workdir":
		if b.Check {
			return nil
		}
	}
	switch in.Name {
	case "run":
		return b.run(ctx, s, in, step)
	case "copy", "add":
		return b.copy(ctx, s, in, step)
	case "workdir":
		return b.workdir(ctx, s, in, step)
	}
	if err := configure(s, in); err != nil {
		return err
	}
	s.record(describe(s, in))
	return nil
}

func copyMap[V any](m map[string]V) map[string]V {
	n := make(map[string]V, len(m))
	for k, v := range m {
		n[k] = v
	}
	return n
}
