// RUN --mount, and the file of a here-document: what the container has besides the image. What is
// there when it ends is no part of the layer.

package build

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
func (b *builder) mounts(s *state, in *dockerfile.Instruction) (*mounts, error) {
	m := new(mounts)
	for _, want := range in.Mounts {
		if want.Target == "" && want.Type == "secret" {
			want.Target = "/run/secrets/" + cmp.Or(want.ID, want.Source)
		}
		want.Target = s.absolute(want.Target)
		var err error
		switch want.Type {
		case "tmpfs":
			v := disk.Volume{Target: want.Target}
			if want.Size > 0 {
				v.Options = fmt.Sprintf("size=%d", want.Size)
			}
			m.volumes = append(m.volumes, v)
		case "cache":
			err = b.cacheMount(m, &want)
		case "bind":
			err = b.bindMount(m, &want)
		case "secret":
			err = b.secretMount(m, &want)
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
func (b *builder) cacheMount(m *mounts, want *dockerfile.Mount) error {
	want.ID = cmp.Or(want.ID, want.Target)
	dir := b.Store.Path("build", "mount-"+digest.FromString(want.ID).Encoded())
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		err = os.Chmod(dir, os.FileMode(want.Mode&0o777))
		if err != nil {
			return err
		}
	} else if !errors.Is(err, os.ErrExist) {
		return err
	}
	if want.Locked {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		m.end = append(m.end, func() { f.Close() })
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // flock(2), until the close
			return os.NewSyscallError("flock", err)
		}
	}
	m.volumes = append(m.volumes, disk.Volume{Source: dir, Target: want.Target})
	return nil
}

// bindMount shows a file or directory of the context: a copy, without what .dockerignore names, so
// that the container has the files that are digested, whatever becomes of the context meanwhile.
// Its files count as those of COPY do.
func (b *builder) bindMount(m *mounts, want *dockerfile.Mount) error {
	if b.Context == nil {
		return errors.New("there is no context")
	}
	real, f, err := follow(b.Context, want.Source)
	if err != nil {
		return fmt.Errorf("%s: %w", shown(want.Source), err)
	}
	nothing, err := openStack(b.Store, nil)
	if err != nil {
		return err
	}
	defer nothing.close()
	d := newDelta(nothing)
	if f.isDir() {
		err = d.copyDir(b.Context, real, "", f, "x", true)
	} else {
		err = d.put("x", &entry{file: *f, from: b.Context, path: real})
	}
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
	m.volumes = append(m.volumes, disk.Volume{Source: filepath.Join(st.Dir, "x"), Target: want.Target, ReadOnly: true})
	return nil
}

// unpack makes files in a directory of what would be a layer. All of it can be removed again.
func (d *delta) unpack(dir string) error {
	for _, e := range d.entries {
		if e.isDir() {
			e.mode |= unix.S_IRWXU
		}
	}
	r, w := io.Pipe()
	defer r.Close()
	go func() { w.CloseWithError(d.write(w)) }()
	_, err := treecopy.Host().Unpack(r, dir, "", false)
	return err
}

// secretMount shows a file of the user's. Nothing of it counts, and nothing of it is kept.
func (b *builder) secretMount(m *mounts, want *dockerfile.Mount) error {
	want.ID = cmp.Or(want.ID, want.Source, path.Base(want.Target))
	file, ok := b.Secrets[want.ID]
	if !ok {
		if want.Required {
			return errs.Hint(fmt.Errorf("there is no secret %q", want.ID), "tiffin build --secret id="+want.ID+",src=FILE")
		}
		return nil
	}
	m.volumes = append(m.volumes, disk.Volume{Source: file, Target: want.Target, ReadOnly: true})
	return nil
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
