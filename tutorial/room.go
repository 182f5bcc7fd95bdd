// A room: a class in one file for its students, which is this program with the class behind it. It
// is run where it is, from a read-only share, or copied.
//
// Behind the program is a ZIP archive, which is found from its end (APPNOTE.TXT 6.3.10, 4.3.16):
//
//	class.json       the class
//	labs/NN-name/    its labs, without what would spoil them
//	images/N.tar     images for the students' stores
//
// In the program itself the solutions of the labs that come with tiffin are written over.

package tutorial

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"tiffin/internal/errs"
)

// RoomType is the type of the artifact that a room is to a registry, and of its one blob.
const RoomType = "application/vnd.tiffin.class.v1"

// Room is the class behind a program.
type Room struct {
	Class *Class
	files *zip.Reader
	held  io.Closer
}

// ThisRoom is the class behind this program, nil if there is none.
var ThisRoom = sync.OnceValues(func() (*Room, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find tiffin's own file: %w", err)
	}
	return openRoom(self)
})

func openRoom(path string) (*Room, error) {
	z, err := zip.OpenReader(path)
	if errors.Is(err, zip.ErrFormat) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the class in %s: %w", path, err)
	}
	b, err := fs.ReadFile(z, "class.json")
	if err != nil {
		z.Close()
		return nil, fmt.Errorf("read the class in %s: %w", path, err)
	}
	c, err := parseClass("class.json", b)
	if err != nil {
		z.Close()
		return nil, err
	}
	return &Room{c, &z.Reader, z}, nil
}

// labs are those of the class.
func (r *Room) labs() ([]*Lab, error) {
	files, err := fs.Sub(r.files, "labs")
	if err != nil {
		return nil, err
	}
	return readLabs(files, "")
}

// Load brings the images of the class into the student's store.
func (r *Room) Load(ctx context.Context, runner *Runner) error {
	names, err := fs.Glob(r.files, "images/*.tar")
	if err != nil {
		return err
	}
	for _, name := range names {
		f, err := r.files.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		cmd := exec.CommandContext(ctx, runner.Binary, "load", "-q")
		cmd.Env, cmd.Stdin = append(os.Environ(), runner.Env...), f
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("load an image of the class: %w: %s", err, strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// PackOptions say what is in a room beside the labs.
type PackOptions struct {
	Images    []string // of the instructor's store
	Solutions bool     // the labs are whole: for the time after the deadline
}

// Pack writes the room of a class: the program r.Binary, and the labs of the class among labs.
func (r *Runner) Pack(ctx context.Context, w io.Writer, c *Class, labs []*Lab, o PackOptions) error {
	if room, err := openRoom(r.Binary); err != nil {
		return err
	} else if room != nil {
		room.held.Close()
		return errs.Hint(errors.New("this tiffin has a class in it already"), "pack with the one that came with no class")
	}
	program, err := os.ReadFile(r.Binary)
	if err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	if !o.Solutions {
		if err := redact(program); err != nil {
			return err
		}
	}
	if _, err := w.Write(program); err != nil {
		return err
	}
	z := zip.NewWriter(w)
	z.SetOffset(int64(len(program)))
	public := *c
	public.From = ""
	text, err := JSON(public)
	if err != nil {
		return err
	}
	if err := pack(z, "class.json", bytes.NewReader(text)); err != nil {
		return err
	}
	for _, cl := range c.Labs {
		l, err := Find(labs, cl.Lab)
		if err != nil {
			return err
		}
		if err := packLab(z, l, o.Solutions); err != nil {
			return fmt.Errorf("pack lab %s: %w", l.Name, err)
		}
	}
	for i, name := range o.Images {
		if err := r.packImage(ctx, z, fmt.Sprintf("images/%d.tar", i), name); err != nil {
			return fmt.Errorf("pack the image %s: %w", name, err)
		}
	}
	return z.Close()
}

func pack(z *zip.Writer, name string, r io.Reader) error {
	h := &zip.FileHeader{Name: name, Method: zip.Deflate}
	h.SetMode(0o644)
	w, err := z.CreateHeader(h)
	if err == nil {
		_, err = io.Copy(w, r)
	}
	return err
}

func packLab(z *zip.Writer, l *Lab, whole bool) error {
	return fs.WalkDir(l.files, ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !whole && slices.Contains(withheld, path):
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		case d.IsDir():
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is neither a file nor a directory", path)
		}
		f, err := l.files.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return pack(z, "labs/"+l.Name+"/"+path, f)
	})
}

func (r *Runner) packImage(ctx context.Context, z *zip.Writer, entry, name string) error {
	var said bytes.Buffer
	cmd := exec.CommandContext(ctx, r.Binary, "save", name)
	cmd.Env, cmd.Stderr = append(os.Environ(), r.Env...), &said
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	copied := pack(z, entry, out)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return copied
}

// redact writes over what would spoil the labs that are embedded in a program: package embed keeps
// files as they are, and equal ones maybe once.
func redact(program []byte) error {
	done := map[string]bool{}
	return fs.WalkDir(builtin, ".", func(path string, d fs.DirEntry, err error) error {
		_, inside, _ := strings.Cut(path, "/")
		if err != nil || d.IsDir() || !slices.Contains(withheld, firstPart(inside)) {
			return err
		}
		text, err := builtin.ReadFile(path)
		if err != nil || len(text) == 0 || done[string(text)] {
			return err
		}
		for rest := program; ; done[string(text)] = true {
			at := bytes.Index(rest, text)
			if at < 0 {
				break
			}
			copy(rest[at:], bytes.Repeat([]byte("\n"), len(text)))
			rest = rest[at+len(text):]
		}
		if !done[string(text)] {
			return fmt.Errorf("%s is not in the program to be packed: it is of another version, or compressed", path)
		}
		return nil
	})
}

// Solution is the reference solution of a lab and its gallery of wrong answers, for a student who
// has passed it.
func (s *Student) Solution(l *Lab) (solution string, wrongs []Wrong, err error) {
	e, err := s.Entry(l.Name)
	if err != nil {
		return "", nil, err
	}
	if e.State != Done {
		return "", nil, errs.Hint(fmt.Errorf("lab %s is not passed yet: then its solution is yours to read", l.Number()), "`tiffin lab hint` helps")
	}
	b, err := fs.ReadFile(l.files, "solution.sh")
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, fmt.Errorf("the solution of lab %s is with your teacher, until the class has handed in", l.Number())
	}
	if err != nil {
		return "", nil, fmt.Errorf("read the solution: %w", err)
	}
	names, _ := fs.Glob(l.files, "reference/*") // the pattern is good
	for _, n := range names {
		text, err := fs.ReadFile(l.files, n)
		if err != nil {
			return "", nil, fmt.Errorf("read the solution: %w", err)
		}
		b = fmt.Appendf(b, "\n# %s\n%s", n, text)
	}
	wrongs, err = l.wrongs()
	return string(b), wrongs, err
}

// PackFile writes the room of a class into a file, whole or not at all, and returns its size in
// bytes.
func (r *Runner) PackFile(ctx context.Context, path string, c *Class, labs []*Lab, o PackOptions) (size int64, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tiffin-")
	if err != nil {
		return 0, fmt.Errorf("write the file for the class: %w", err)
	}
	defer os.Remove(f.Name()) // once it is renamed, there is none
	defer f.Close()
	if err := r.Pack(ctx, f, c, labs, o); err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err == nil {
		err = errors.Join(f.Chmod(0o755), f.Close())
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return 0, fmt.Errorf("write the file for the class: %w", err)
	}
	return st.Size(), nil
}
