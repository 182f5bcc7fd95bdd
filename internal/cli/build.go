// The command tiffin build: an image is made of a Dockerfile. Flags are read and steps are printed
// here; package build does the work.

package cli

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/oci"
	"tiffin/internal/build"
	"tiffin/internal/dockerfile"
	"tiffin/internal/errs"
	"tiffin/internal/network"
)

func buildCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTEXT|-",
		Description: "CONTEXT is what COPY takes files from, without those that its .dockerignore names: a directory, a tarball, the\n" +
			"http or https URL of a tarball, or a git repository, URL.git[#REF[:DIR]]. - is a tarball on standard input; or there\n" +
			"is no context, and the Dockerfile comes from there. Without -f it is Dockerfile or Containerfile in the context; if\n" +
			"that is no directory, FILE is in it, too. What is not there is refused before anything runs. Steps whose layers are\n" +
			"here already are not done again; `tiffin prune --build` forgets them. With SOURCE_DATE_EPOCH, the same files give\n" +
			"the same image.\n" +
			"--cache-from trusts whoever can write that cache: which layer a step gives is their word. The keys in caches are\n" +
			"tiffin's own, since BuildKit's are digests of its inner form of a build: neither finds anything in a cache of the\n" +
			"other, also of type inline, which has BuildKit's form. Neither secrets nor arguments are in them, but all files of the\n" +
			"layers are.",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "tag", Aliases: []string{"t"}, Usage: "`NAME[:TAG]` for the image"},
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "the Dockerfile is `FILE`, or - for standard input"},
			&cli.StringFlag{Name: "checksum", Usage: "of the tarball behind a URL: `sha256:DIGEST`"},
			&cli.StringFlag{Name: "target", Usage: "build up to `STAGE`"},
			&cli.StringSliceFlag{Name: "build-arg", Usage: "give ARG a value: `NAME=VALUE`, or NAME with the value it has here"},
			&cli.StringSliceFlag{Name: "label", Usage: "note `KEY=VALUE` in the image"},
			&cli.StringSliceFlag{Name: "secret", Usage: "a file or a variable for RUN --mount=type=secret: `id=ID,src=FILE` or id=ID,env=NAME"},
			&cli.StringSliceFlag{Name: "ssh", Usage: "an ssh agent for RUN --mount=type=ssh: `ID=SOCKET`, or default, that of SSH_AUTH_SOCK"},
			&cli.BoolFlag{Name: "check", Usage: "build nothing: warn of what is allowed but seldom meant, by BuildKit's rules; status 1 if there is any"},
			&cli.BoolFlag{Name: "no-cache", Usage: "do every step again"},
			&cli.StringSliceFlag{Name: "cache-from", Usage: "take layers that --cache-to has written there, or those of an image with an inline cache: `type=registry,ref=NAME[:TAG]`, in short the name, or type=local,src=DIR"},
			&cli.StringSliceFlag{Name: "cache-to", Usage: "write the layers of the steps for other builds: `type=registry,ref=NAME[:TAG]` or type=local,dest=DIR; mode=max, also of steps that are not in the image; type=inline: into the image itself"},
			newOptionalFlag("pull", "fetch base images: always, also if they are here; =missing, =never", "true", pullAlways, pullMissing, pullNever),
			&cli.StringFlag{Name: "network", Usage: "of RUN: `user` (its own, with a way out), none or host; the same as that of run if not given"},
			&cli.StringFlag{Name: "progress", Value: "auto", Usage: "`auto`, plain, json or quiet"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the digest of the image"},
			&cli.StringFlag{Name: "iidfile", Usage: "write the digest of the image into `FILE`"},
			&cli.BoolFlag{Name: "squash", Usage: "one layer on top of the base, instead of one for each step"},
			&cli.StringSliceFlag{Name: "output", Aliases: []string{"o"}, Usage: "write the image, too: `type=oci|docker,dest=FILE`; or its files: type=tar,dest=FILE, type=local,dest=DIR"},
			&cli.BoolFlag{Name: "rewrite-timestamp", Usage: "no time in new layers is later than SOURCE_DATE_EPOCH: so it is wherever that is set"},
			&cli.BoolFlag{Name: "explain", Usage: "print why steps were done again, and what their layers add and hide"},
			&cli.StringFlag{Name: "format", Usage: "of --explain: `json`, a line for each step"},
			&cli.BoolFlag{Name: "keep", Usage: "leave the container of a RUN that fails"},
			&cli.BoolFlag{Name: "rm", Hidden: true, Value: true}, &cli.BoolFlag{Name: "force-rm", Hidden: true},
			platformFlag(), tlsFlag(),
		},
		Action: takes(1, 1, "a directory, a tarball, a URL, or -", inStore(runBuild)),
	}
}

func runBuild(c *cli.Context, store *image.Store) error {
	o, err := buildOptions(c, store)
	if err != nil {
		return err
	}
	if o.Context != nil {
		defer o.Context.Close()
	}
	p, err := newBuildProgress(c)
	if err != nil {
		return err
	}
	outputs, err := readBuildOutputs(c)
	if err != nil {
		return err
	}
	caches, err := readBuildCaches(c)
	if err != nil {
		return err
	}
	o.Output, o.Report, o.Warn = p.output, p.step, p.warning
	if o.Check {
		return checkBuild(c, o, p)
	}
	explain, err := explainBuild(c, o)
	if err != nil {
		return err
	}
	sweep()
	ctx, end := interruptibleWithin(c, 10*time.Second) // containers have to end
	defer end()
	if err := caches.open(ctx, c, p, o); err != nil {
		return err
	}
	defer caches.close()
	img, err := build.Build(ctx, *o)
	if e := explain(); e != nil {
		return e
	}
	if err != nil {
		return p.failed(err, errs.CodeOf(context.Cause(ctx), exitFailure))
	}
	for _, output := range outputs {
		if err := output.write(ctx, store, img); err != nil {
			return err
		}
	}
	if err := p.done(c, img); err != nil {
		return err
	}
	return caches.write(ctx, c, store)
}

// checkBuild is --check.
func checkBuild(c *cli.Context, o *build.Options, p *buildProgress) error {
	found := 0
	o.Report = nil
	o.Warn = func(n *dockerfile.Note) {
		found++
		p.mode = "plain"
		p.warning(n)
		printExcerpt(n)
	}
	ctx, end := interruptible(c)
	defer end()
	if _, err := build.Build(ctx, *o); err != nil {
		return p.failed(err, exitFailure)
	}
	if found > 0 {
		return exitStatus(exitFailure)
	}
	return nil
}

// buildOptions reads the flags, and opens what they name.
func buildOptions(c *cli.Context, store *image.Store) (*build.Options, error) {
	o := &build.Options{
		Store: store, Target: c.String("target"), Labels: c.StringSlice("label"), Names: c.StringSlice("tag"),
		NoCache: c.Bool("no-cache"), Check: c.Bool("check"), Squash: c.Bool("squash"), Keep: c.Bool("keep"), Network: c.String("network"), Args: map[string]string{},
	}
	set, err := containersOf(store.Root())
	if err != nil {
		return nil, err
	}
	o.Containers = set
	if !c.IsSet("network") || o.Network == "default" {
		s, err := readSettings()
		if err != nil {
			return nil, err
		}
		o.Network = s.Run.Network
	}
	if choice, err := network.ParseChoice(o.Network); err != nil {
		return nil, err
	} else if choice.Kind == network.Container || choice.Kind == network.Named {
		return nil, usagef("--network of a build is user, none or host, not %q", o.Network)
	}
	for _, a := range c.StringSlice("build-arg") {
		k, v, ok := strings.Cut(a, "=")
		if !ok {
			if v, ok = os.LookupEnv(k); !ok {
				continue // as with run -e
			}
		}
		o.Args[k] = v
	}
	for _, l := range o.Labels {
		if k, _, _ := strings.Cut(l, "="); k == "" {
			return nil, usagef("--label %q is not KEY=VALUE", l)
		}
	}
	if c.Bool("rewrite-timestamp") && os.Getenv("SOURCE_DATE_EPOCH") == "" {
		return nil, usagef("--rewrite-timestamp needs the environment variable SOURCE_DATE_EPOCH, in seconds since 1970")
	}
	if o.Secrets, err = secrets(c.StringSlice("secret")); err != nil {
		return nil, err
	}
	if o.Agents, err = agents(c.StringSlice("ssh")); err != nil {
		return nil, err
	}
	policy, pulls := optionalValue(c, "pull")
	if !pulls {
		policy = pullMissing
	} else if policy == "" {
		policy = pullAlways
	}
	if o.System, err = oci.ParsePlatform(c.String("platform")); err != nil {
		return nil, err
	}
	o.Base = func(_ context.Context, name, platform string) (*image.Image, error) {
		return baseImage(c, store, name, cmp.Or(platform, c.String("platform")), policy)
	}
	return o, openBuild(c, o)
}

// secrets reads --secret id=ID,src=FILE or id=ID,env=NAME. As with docker, an ID alone is the name
// of a variable, or else of a file.
func secrets(flags []string) (map[string]build.Secret, error) {
	all := map[string]build.Secret{}
	for _, s := range flags {
		wrong := func(what string) error {
			return usagef("--secret %s: %s: it is id=ID,src=FILE or id=ID,env=NAME", s, what)
		}
		given := map[string]string{}
		for field := range strings.SplitSeq(s, ",") {
			k, v, _ := strings.Cut(field, "=")
			if k == "source" {
				k = "src"
			}
			if _, twice := given[k]; twice || !slices.Contains([]string{"id", "src", "env", "type"}, k) {
				return nil, wrong(fmt.Sprintf("%q is not known, or twice", field))
			}
			given[k] = v
		}
		id, kind, file, env := given["id"], given["type"], given["src"], given["env"]
		if id == "" {
			return nil, wrong("there is no id")
		}
		if kind == "env" { // docker takes src for the name, too
			file, env = "", cmp.Or(env, file, id)
		}
		if _, there := os.LookupEnv(id); kind == "" && file == "" && env == "" && there {
			env = id
		}
		switch {
		case !slices.Contains([]string{"", "file", "env"}, kind):
			return nil, wrong(fmt.Sprintf("the type is file or env, not %q", kind))
		case env != "" && (file != "" || kind == "file"):
			return nil, wrong("a secret is a file or a variable")
		case env != "":
			text, there := os.LookupEnv(env)
			if !there {
				return nil, fmt.Errorf("--secret %s: there is no environment variable %s", s, env)
			}
			all[id] = build.Secret{Text: text}
			continue
		}
		abs, err := filepath.Abs(cmp.Or(file, id))
		if err == nil {
			_, err = os.Stat(abs)
		}
		if err != nil {
			return nil, fmt.Errorf("--secret %s: %w", s, err)
		}
		all[id] = build.Secret{File: abs}
	}
	return all, nil
}

// agents reads --ssh ID=SOCKET.
func agents(flags []string) (map[string]string, error) {
	sockets := map[string]string{}
	for _, s := range flags {
		id, socket, given := strings.Cut(s, "=")
		if !given {
			socket = os.Getenv("SSH_AUTH_SOCK")
		}
		st, err := os.Stat(socket)
		switch {
		case socket == "":
			return nil, usagef("--ssh %s: the environment variable SSH_AUTH_SOCK names no agent", s)
		case err != nil:
			return nil, fmt.Errorf("--ssh %s: %w", s, err)
		case st.Mode()&os.ModeSocket == 0:
			return nil, fmt.Errorf("--ssh %s: %s is no socket of an agent", s, socket)
		}
		if sockets[id], err = filepath.Abs(socket); err != nil {
			return nil, err
		}
	}
	return sockets, nil
}

// readFile is readText of a file that has perhaps been opened.
func readFile(f io.ReadCloser, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readText(f)
}

// readText reads what may be as long as a Dockerfile.
func readText(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, dockerfile.MaxText+1))
	if err == nil && len(b) > dockerfile.MaxText {
		err = fmt.Errorf("it has more than %d bytes", dockerfile.MaxText)
	}
	return b, err
}

// buildProgress shows how far a build has come.
type buildProgress struct {
	mode  string
	began map[string]time.Time // when the step of a stage did
}

func newBuildProgress(c *cli.Context) (*buildProgress, error) {
	p := &buildProgress{mode: c.String("progress"), began: map[string]time.Time{}}
	if c.Bool("quiet") {
		p.mode = "quiet"
	}
	switch p.mode {
	case "auto":
		p.mode = "plain"
	case "plain", "json", "quiet":
	default:
		return nil, usagef("--progress is auto, plain, json or quiet, not %q", p.mode)
	}
	return p, nil
}

// output is where the RUN of a step prints: where tiffin does, if there is one stage alone.
func (p *buildProgress) output(s build.Step) (f *os.File, end func(failed bool), err error) {
	switch {
	case p.mode != "plain":
		return heldOutput()
	case s.Stage == "":
		return os.Stderr, func(bool) {}, nil
	}
	return prefixedOutput("[" + printable(stepNumber(&s)) + "] ")
}

// heldOutput is shown only if the step fails: memfd_create(2).
func heldOutput() (f *os.File, end func(failed bool), err error) {
	fd, err := unix.MemfdCreate("tiffin-build-output", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_create", err)
	}
	f = os.NewFile(uintptr(fd), "output")
	return f, func(failed bool) {
		defer f.Close()
		if failed {
			_, _ = io.Copy(stderr, io.NewSectionReader(f, 0, maxHeld))
		}
	}, nil
}

// maxHeld is how much of the output of a RUN that fails is shown, in bytes.
const maxHeld = 1 << 20

// prefixedOutput puts the step before each line, so that those of several stages can be told apart.
func prefixedOutput(prefix string) (f *os.File, end func(failed bool), err error) {
	r, f, err := os.Pipe()
	if err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer r.Close()
		for in := bufio.NewReader(r); ; {
			line, err := in.ReadSlice('\n') // or as much as fits
			if len(line) > 0 {
				_, _ = stderr.Write(append([]byte(prefix), append(bytes.TrimRight(line, "\r\n"), '\n')...))
			}
			if err != nil && err != bufio.ErrBufferFull {
				return
			}
		}
	}()
	return f, func(bool) { f.Close(); <-done }, nil
}

// step is told of a step when it begins, and when it has ended.
func (p *buildProgress) step(s build.Step) {
	if !s.Ended {
		p.began[s.Stage] = time.Now()
	}
	took := time.Since(p.began[s.Stage]).Round(time.Millisecond)
	switch p.mode {
	case "json":
		_ = json.NewEncoder(stderr).Encode(struct {
			build.Step
			Seconds float64 `json:",omitempty"`
		}{s, took.Seconds()})
	case "plain":
		number := stepNumber(&s)
		switch {
		case !s.Ended:
			fmt.Fprintf(stderr, "[%s] %s\n", printable(number), printable(oneLine(s.Text, true)))
		case s.From != "":
			fmt.Fprintf(stderr, "[%s] from the cache %s, %s, %s\n", printable(number), printable(s.From), took, size(s.Bytes))
		case s.Cached:
			fmt.Fprintf(stderr, "[%s] cached\n", printable(number))
		case s.Layer != "":
			fmt.Fprintf(stderr, "[%s] %s, %s\n", printable(number), took, size(s.Bytes))
		}
	}
}

// stepNumber is the stage, and which of its steps it is.
func stepNumber(s *build.Step) string {
	number := fmt.Sprintf("%d/%d", s.Number, s.Steps)
	if s.Stage != "" {
		number = s.Stage + " " + number
	}
	return number
}

func (p *buildProgress) warning(n *dockerfile.Note) {
	if p.mode == "plain" {
		text := n.Error()
		if n.Rule != "" {
			text += " (" + n.Rule + ")"
		}
		warn(printable(text))
	}
}

// failed shows where in the Dockerfile the error is.
func (p *buildProgress) failed(err error, status int) error {
	var n *dockerfile.Note
	if !errors.As(err, &n) || n.Excerpt() == "" {
		return errs.Code(errs.Hint(err, errs.HintOf(err)), status) // not that of the command
	}
	printError(stderr, err)
	printExcerpt(n)
	return exitStatus(status)
}

// printExcerpt prints the line that a note is about, if there is one, and marks what is meant.
func printExcerpt(n *dockerfile.Note) {
	if text := n.Excerpt(); text != "" {
		for line := range strings.SplitSeq(text, "\n") {
			fmt.Fprintln(stderr, printable(line))
		}
	}
}

// done says which image it is.
func (p *buildProgress) done(c *cli.Context, img *image.Image) error {
	if f := c.String("iidfile"); f != "" {
		if err := os.WriteFile(f, []byte(img.ID.String()), 0o644); err != nil {
			return fmt.Errorf("write the digest of the image: %w", err)
		}
	}
	switch {
	case p.mode == "quiet":
		fmt.Fprintln(stdout, img.ID)
	case p.mode == "json":
		return json.NewEncoder(stderr).Encode(map[string]any{"Image": img.ID, "Names": img.Names})
	case len(img.Names) == 0:
		fmt.Fprintf(stderr, "made %s\n", id(img.ID.String(), false))
	default:
		fmt.Fprintf(stderr, "made %s: %s\n", id(img.ID.String(), false), strings.Join(img.Names, ", "))
	}
	return nil
}
