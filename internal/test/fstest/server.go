// The server, the process that serves the union and answers questions about it.

package fstest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"tiffin/fs"
	"tiffin/image/layer"
	"tiffin/internal/wire"
)

// serverReport is the server's inherited descriptor beside wire.FD, which leads to the client. It
// leads to the anchor, for faults, and in the end for what went wrong.
const serverReport = wire.FD + 1

// server is the process that serves the union and answers the client's
// questions about it.
type server struct {
	spec           *spec
	client, report *wire.Conn
	fs             *fs.FS

	mu     sync.Mutex
	base   map[string]uint64 // counts at the last "reset"
	events []string
	cancel func()
}

func serverMain(s *spec) int {
	v := &server{spec: s}
	var err error
	if v.client, err = wire.Inherited(); err == nil {
		syscall.CloseOnExec(serverReport)
		v.report, err = wire.New(os.NewFile(serverReport, "report"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fstest: start the server:", err)
		return 2
	}
	var errs []string
	if err := v.run(&errs); err != nil {
		what, _ := missing(err)
		v.client.Send(&message{Err: err.Error(), What: what})
		errs = append(errs, "server: "+err.Error())
	}
	v.report.Send(&message{Op: "report", Errs: errs})
	return 0
}

func (v *server) run(errs *[]string) error {
	cfg := fs.Config{Upper: v.spec.Upper, Work: v.spec.Work}
	cfg.Uncached, cfg.Volatile = v.spec.Uncached, v.spec.Volatile
	var (
		layers []*layer.Index
		err    error
	)
	if cfg.Index, cfg.Flats, layers, err = v.spec.Image.open(); err != nil {
		return err
	}
	cfg.MapUID, cfg.MapGID = shownID("/proc/self/uid_map"), shownID("/proc/self/gid_map")
	if v.fs, err = fs.New(cfg); err != nil {
		return fmt.Errorf("fs.New: %w", err)
	}
	v.fs.SetLayers(layers)
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return &errMissing{"fuse", fmt.Errorf("open /dev/fuse: %w", err)}
	}
	if err := v.client.SendFDs(&message{Op: "fuse"}, fd); err != nil {
		return err
	}
	if m, err := receive(v.client); err != nil || m.Op != "serve" {
		return nil // the client could not mount, and says so itself
	}
	if v.spec.Faults {
		if err := v.announceFaults(); err != nil {
			return err
		}
	}
	before := descriptors()
	go v.answer()
	if err := v.fs.Serve(fd); err != nil {
		return fmt.Errorf("fs.Serve: %w", err)
	}
	for _, d := range descriptors() {
		// Of the runtime (anon_inode) and of go-fuse (pipe), which keep them.
		if !slices.Contains(before, d) && !strings.HasPrefix(d, "anon_inode:") && !strings.HasPrefix(d, "pipe:") {
			*errs = append(*errs, "left behind: the server's descriptor of "+d)
		}
	}
	return nil
}

// announceFaults lets the anchor decide about every call that changes the disk.
func (v *server) announceFaults() error {
	fd, err := listen()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return v.report.SendFDs(&message{Op: "faults"}, fd)
}

// answer answers the client until it is gone.
func (v *server) answer() {
	for {
		m, err := receive(v.client)
		if err != nil {
			return
		}
		v.client.Send(v.reply(m.Op))
	}
}

func (v *server) reply(op string) *message {
	r := &message{}
	v.mu.Lock()
	defer v.mu.Unlock()
	switch op {
	case "counts":
		r.Counts = v.fs.Counts()
		for k, n := range v.base {
			if r.Counts[k] -= n; r.Counts[k] == 0 {
				delete(r.Counts, k)
			}
		}
	case "reset":
		v.base = v.fs.Counts()
	case "freeze":
		v.fs.Freeze()
	case "thaw":
		v.fs.Thaw()
	case "subscribe":
		v.cancel = v.fs.Subscribe(func(e fs.Event) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.events = append(v.events, fmt.Sprintf("%+v", e))
		})
	case "events":
		r.Events, v.events = v.events, nil
		if v.cancel != nil {
			v.cancel()
			v.cancel = nil
		}
	default:
		r.Err = "unknown request " + op
	}
	return r
}

// descriptors lists what is open in this process, less what listing opens.
func descriptors() []string {
	var open []string
	es, _ := os.ReadDir("/proc/self/fd")
	for _, e := range es {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && !strings.HasPrefix(to, "/proc/") {
			open = append(open, to)
		}
	}
	return open
}

// shownID shows an id that the namespace has not mapped as 0.
func shownID(file string) func(uint32) uint32 {
	var first, outside, n uint32
	b, _ := os.ReadFile(file)
	type span struct{ first, n uint32 }
	var spans []span
	for _, l := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		if _, err := fmt.Sscan(l, &first, &outside, &n); err == nil {
			spans = append(spans, span{first, n})
		}
	}
	return func(id uint32) uint32 {
		for _, s := range spans {
			if id-s.first < s.n {
				return id
			}
		}
		return 0
	}
}
