package fs

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"tiffin/fs/layer"
)

// Config says what to serve.
type Config struct {
	Index *layer.Index // merged index of all layers
	Flats []*os.File   // flat.tar of each layer, by number: 0 is the bottom

	// Upper is the directory that takes all changes, Work an empty one on the
	// same file system for what is being made. Both "": read-only.
	Upper, Work string

	// MapUID and MapGID give the owner to show for an id that an inode has;
	// nil shows it as it is. An id that the user namespace has no mapping for
	// must be shown as one it has: the kernel refuses to write to an inode
	// whose owner it cannot express (user_namespaces(7)).
	MapUID, MapGID func(uint32) uint32

	// Layers are the indexes of the single layers, for the verdict of each in
	// an Event. Optional.
	Layers []*layer.Index
}

// maxWrite is the largest READ or WRITE, in bytes: the kernel's limit.
const maxWrite = 1 << 20

// FS is a union of layers and an upper directory, ready to be served.
type FS struct {
	fuse.RawFileSystem
	cfg    Config
	freeze sync.RWMutex
	subs   atomic.Pointer[[]*subscriber]
	subsMu sync.Mutex
	counts [numOps]atomic.Uint64
}

// New prepares to serve cfg. It takes over nothing: the caller closes the
// index and the files after Serve has returned.
func New(cfg Config) (*FS, error) {
	if cfg.Index == nil {
		return nil, errors.New("no index to serve")
	}
	if (cfg.Upper == "") != (cfg.Work == "") {
		return nil, errors.New("an upper directory needs a work directory and the reverse")
	}
	return &FS{RawFileSystem: fuse.NewDefaultRawFileSystem(), cfg: cfg}, nil
}

// MountOptions returns the arguments of the mount(2) call that attaches the
// file system whose server has /dev/fuse open as fd. userID and groupID are
// the caller's, as its user namespace has them.
func MountOptions(userID, groupID, fd int) (source, fstype string, flags uintptr, data string) {
	data = fmt.Sprintf("fd=%d,rootmode=40000,user_id=%d,group_id=%d,default_permissions,allow_other,max_read=%d",
		fd, userID, groupID, maxWrite)
	return "tiffin", "fuse.tiffin", unix.MS_NOSUID | unix.MS_NODEV, data
}

// Serve answers requests until the file system is unmounted. mount(2) must
// have been called with fuseFd, which Serve owns from then on.
func (f *FS) Serve(fuseFd int) error {
	srv, err := fuse.NewServer(f, fmt.Sprintf("/dev/fd/%d", fuseFd), &fuse.MountOptions{
		MaxWrite: maxWrite,
		Logger:   log.New(io.Discard, "", 0),
	})
	if err != nil {
		return fmt.Errorf("start the file system server: %w", err)
	}
	srv.Serve()
	return nil
}

// Freeze waits for changes under way and holds back others until Thaw.
func (f *FS) Freeze() { f.freeze.Lock() }

// Thaw ends Freeze.
func (f *FS) Thaw() { f.freeze.Unlock() }
