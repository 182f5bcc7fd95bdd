// RUN --mount, and the file of a here-document: what the container has besides the image. What is
// there when it ends is no part of the layer.

package build

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"path/filepath"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image/store"
	"tiffin/internal/container/disk"
	"tiffin/internal/dockerfile"
	"tiffin/internal/errs"
	"tiffin/internal/treecopy"
)

// mounts are those of one RUN.
type mounts struct {
	volumes []disk.Volume
	env     []string          // secrets, VAR=VALUE
	agents  int               // of ssh
	parts   []store.BuildPart // what the layer depends on
	fill    []func() error    // what lay does
	end     []func()          // in reverse order
}

func (m *mounts) close() {
	for i := len(m.end) - 1; i >= 0; i-- {
		m.end[i]()
	}
}

// lay makes the files that are only needed if the container runs.
func (m *mounts) lay() error {
	for _, fill := range m.fill {
		if err := fill(); err != nil {
			return err
		}
	}
	return nil
}

// mounts prepares what a RUN mounts. The caller closes it, also after an error.
func (b *builder) mounts(ctx context.Context, s *state, in *dockerfile.Instruction) (*mounts, error) {
	m := new(mounts)
	for _, want := range in.Mounts {
		if usual := want.Type == "secret" || want.Type == "ssh"; want.Target != "" || !usual {
			want.Target = s.absolute(want.Target)
		}
		var err error
		switch want.Type {
		case "tmpfs":
			v := disk.Volume{Target: want.Target}
			if want.Size > 0 {
				v.Options = fmt.Sprintf("size=%d", want.Size)
			}
			m.volumes = append(m.volumes, v)
		case "cache":
			err = b.cacheMount(ctx, m, &want)
		case "bind":
			err = b.bindMount(ctx, m, &want)
		case "secret":
			err = b.secretMount(m, &want)
		case "ssh":
			err = b.agentMount(m, &want)
		default:
			err = errors.New("it is not there")
		}
		if err != nil {
			return m, fmt.Errorf("--mount=type=%s: %w", want.Type, err)
		}
		// All that was asked for counts; what is in a cache or a secret does not.
		asked, err := json.Marshal(want)
		if err != nil {
			return m, err
		}
		m.parts = append(m.parts, store.BuildPart{Name: "mount", Value: string(asked)})
	}
	if in.Script != "" {
		return m, b.scriptMount(m, in.Script)
	}
	return m, nil
}

// cacheMount is a directory of the store that stays from build to build. Its content does not count
// for the layer.
func (b *builder) cacheMount(ctx context.Context, m *mounts, want *dockerfile.Mount) error {
	want.ID = cmp.Or(want.ID, want.Target)
	dir, held, err := b.cacheDirectory(want)
	if err != nil {
		return err
	}
	m.end = append(m.end, func() { held.Close() })
	if want.From != "" {
		m.parts = append(m.parts, store.BuildPart{Name: "mount", Value: "from " + want.From + " " + want.Source})
		m.fill = append(m.fill, func() error { return b.seed(ctx, want, dir) })
	}
	v := disk.Volume{Source: dir, Target: want.Target, ReadOnly: want.ReadOnly}
	if names, err := os.ReadDir(dir); want.Owned && len(names) == 0 && err == nil {
		v.Owner = owner(want)
	}
	m.volumes = append(m.volumes, v)
	return nil
}

// owner is that of a mount's file or directory.
func owner(want *dockerfile.Mount) *disk.Owner {
	return &disk.Owner{UID: want.UID, GID: want.GID, Mode: want.Mode}
}

// cacheDirectory is the directory of a cache, and what holds it while a RUN has it: one that is
// private is another one if the first is in use. The Dockerfile reference,
// "RUN --mount=type=cache".
func (b *builder) cacheDirectory(want *dockerfile.Mount) (dir string, held *os.File, err error) {
	lock := map[string]int{"": unix.LOCK_SH, "shared": unix.LOCK_SH, "locked": unix.LOCK_EX, "private": unix.LOCK_EX | unix.LOCK_NB}[want.Sharing]
	for n := 0; ; n++ {
		id := want.ID
		if n > 0 {
			id += fmt.Sprintf("\x00%d", n)
		}
		dir = b.Store.Path("build", "mount-"+digest.FromString(id).Encoded())
		if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
			return "", nil, err
		}
		if err := os.Mkdir(dir, 0o700); err == nil {
			err = unix.Chmod(dir, want.Mode&0o7777)
			if err != nil {
				return "", nil, err
			}
		} else if !errors.Is(err, os.ErrExist) {
			return "", nil, err
		}
		if held, err = os.Open(dir); err != nil {
			return "", nil, err
		}
		if err = unix.Flock(int(held.Fd()), lock); err == nil { // flock(2), until the close
			return dir, held, nil
		}
		held.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return "", nil, os.NewSyscallError("flock", err)
		}
	}
}

// seed gives a cache that is empty the files of an image or stage.
func (b *builder) seed(ctx context.Context, want *dockerfile.Mount, dir string) error {
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		return err
	}
	d, isDir, done, err := b.picked(ctx, want, "")
	defer done()
	if err == nil && !isDir {
		err = fmt.Errorf("%s is no directory", shown(want.Source))
	}
	if err != nil {
		return err
	}
	if _, err := d.digest(); err != nil {
		return err
	}
	return d.unpack(dir)
}

// picked is what the file or directory of a bind mount is called in the tree that is made for it.
const picked = "x"

// picked is a file or directory of the context, an image or a stage, under that name. done is to be
// called in any case.
func (b *builder) picked(ctx context.Context, want *dockerfile.Mount, name string) (d *delta, isDir bool, done func(), err error) {
	from, end, err := b.source(ctx, &dockerfile.Copy{From: want.From, Stage: want.Stage})
	if err != nil {
		return nil, false, func() {}, err
	}
	nothing, err := openStack(b.Store, nil)
	if err != nil {
		return nil, false, end, err
	}
	d = newDelta(nothing, b.Store.Path("tmp"))
	done = func() { d.close(); nothing.close(); end() }
	real, f, err := follow(from, want.Source)
	if err != nil {
		return nil, false, done, fmt.Errorf("%s: %w", shown(want.Source), err)
	}
	if f.isDir() {
		err = d.copyDir(d.from(from), real, "", f, name, true)
	} else {
		err = d.put(name, &entry{file: *f, from: d.from(from), path: real})
	}
	return d, f.isDir(), done, err
}

// bindMount shows a file or directory: a copy, of the context without what .dockerignore names, so
// that the container has the files that are digested, whatever becomes of the context meanwhile,
// and may write if it is to. Its files count as those of COPY do.
func (b *builder) bindMount(ctx context.Context, m *mounts, want *dockerfile.Mount) error {
	d, _, done, err := b.picked(ctx, want, picked)
	m.end = append(m.end, done)
	if err != nil {
		return err
	}
	sum, err := d.digest()
	if err != nil {
		return err
	}
	b.journal.keep(sum, d)
	m.parts = append(m.parts, store.BuildPart{Name: "files", Value: sum})
	st, err := b.Store.Stage()
	if err != nil {
		return err
	}
	m.end = append(m.end, st.Close)
	m.fill = append(m.fill, func() error { return d.unpack(st.Dir) })
	m.volumes = append(m.volumes, disk.Volume{Source: filepath.Join(st.Dir, picked), Target: want.Target, ReadOnly: want.ReadOnly})
	return nil
}

// unpack makes files in a directory of what would be a layer. All of it can be removed again.
func (d *delta) unpack(dir string) error {
	d.private = true
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(d.write(w)) }()
	_, err := treecopy.Private().Unpack(r, dir, "", false)
	return err
}

// secretMount shows a file of the user's, or puts what it has into a variable. Nothing of it
// counts, and nothing of it is kept. A file with an owner or a mode of its own is a copy, as long
// as the container runs.
func (b *builder) secretMount(m *mounts, want *dockerfile.Mount) error {
	want.ID = cmp.Or(want.ID, want.Source, path.Base(want.Target))
	secret, ok := b.Secrets[want.ID]
	if !ok {
		if want.Required {
			return errs.Hint(fmt.Errorf("there is no secret %q", want.ID), "tiffin build --secret id="+want.ID+",src=FILE")
		}
		return nil
	}
	text := secret.Text
	if secret.File != "" && (want.Env != nil || want.Owned) {
		b, err := os.ReadFile(secret.File)
		if err != nil {
			return err
		}
		text = string(b)
	}
	if want.Env != nil {
		m.env = append(m.env, cmp.Or(*want.Env, want.ID)+"="+text)
		if want.Target == "" {
			return nil
		}
	}
	v := disk.Volume{Source: secret.File, Target: cmp.Or(want.Target, "/run/secrets/"+want.ID), ReadOnly: true}
	want.Target = v.Target
	if secret.File == "" || want.Owned {
		st, err := b.Store.Stage()
		if err != nil {
			return err
		}
		m.end = append(m.end, st.Close)
		v.Source, v.Owner = filepath.Join(st.Dir, "secret"), owner(want)
		m.fill = append(m.fill, func() error { return os.WriteFile(v.Source, []byte(text), 0o600) })
	}
	m.volumes = append(m.volumes, v)
	return nil
}

// agentMount lets the container talk to an ssh agent.
func (b *builder) agentMount(m *mounts, want *dockerfile.Mount) error {
	want.ID = cmp.Or(want.ID, "default")
	socket, ok := b.Agents[want.ID]
	if !ok {
		if want.Required {
			return errs.Hint(fmt.Errorf("there is no agent %q", want.ID), "tiffin build --ssh "+want.ID+"=SOCKET; default has $SSH_AUTH_SOCK")
		}
		return nil
	}
	want.Target = cmp.Or(want.Target, fmt.Sprintf("/run/buildkit/ssh_agent.%d", m.agents)) // where BuildKit has it
	if m.agents++; m.agents == 1 {
		m.env = append(m.env, "SSH_AUTH_SOCK="+want.Target)
	}
	v := disk.Volume{Source: socket, Target: want.Target}
	if want.Owned { // a socket of its own: the user's stays as it is
		st, err := b.Store.Stage()
		if err != nil {
			return err
		}
		m.end = append(m.end, st.Close)
		v.Source, v.Owner = filepath.Join(st.Dir, "agent"), owner(want)
		m.fill = append(m.fill, func() error {
			end, err := relay(st.Dir, "agent", socket)
			if err == nil {
				m.end = append(m.end, end)
			}
			return err
		})
	}
	m.volumes = append(m.volumes, v)
	return nil
}

// relay makes a socket in a directory, and hands all that comes to another one, until end.
func relay(dir, name, to string) (end func(), err error) {
	at, err := os.Open(dir) // unix(7): the path of a socket has 107 bytes, and a store's may have more
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/%s", at.Fd(), name))
	if err != nil {
		at.Close()
		return nil, err
	}
	go func() {
		for {
			theirs, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer theirs.Close()
				ours, err := net.Dial("unix", to)
				if err != nil {
					return
				}
				defer ours.Close()
				go func() {
					_, _ = io.Copy(ours, theirs)
					ours.Close()
				}()
				_, _ = io.Copy(theirs, ours)
			}()
		}
	}()
	return func() { l.Close(); at.Close() }, nil
}

// scriptMount shows a here-document as a file that can be executed.
func (b *builder) scriptMount(m *mounts, text string) error {
	st, err := b.Store.Stage() // so that nobody takes it for what a killed command has left
	if err != nil {
		return err
	}
	m.end = append(m.end, st.Close)
	file := filepath.Join(st.Dir, "script")
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		return err
	}
	if err := os.Chmod(file, 0o755); err != nil { // whatever the umask
		return err
	}
	m.volumes = append(m.volumes, disk.Volume{Source: file, Target: dockerfile.ScriptPath, ReadOnly: true})
	m.parts = append(m.parts, store.BuildPart{Name: "script", Value: digest.FromString(text).String()})
	return nil
}
