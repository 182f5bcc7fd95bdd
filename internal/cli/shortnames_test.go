package cli_test

import (
	"context"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	gofs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// TestADiskWithShortNames: eCryptfs has names of 143 bytes at most. A disk of this test's stands in
// for one, which only root can mount for others.
func TestADiskWithShortNames(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount a file system for the users that this is about")
	}
	for _, p := range everybody(t) {
		if p.uid == 0 {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			b := newBench(t, p)
			back, at := filepath.Join(b.dir, "back"), filepath.Join(b.dir, "at")
			for _, dir := range []string{back, at} {
				if err := os.Mkdir(dir, 0o755); err != nil || os.Chown(dir, p.uid, p.gid) != nil {
					t.Fatal(err)
				}
			}
			loopback, err := gofs.NewLoopbackRoot(back)
			if err != nil {
				t.Fatal(err)
			}
			server, err := gofs.Mount(at, &shortNames{loopback.(*gofs.LoopbackNode)}, &gofs.Options{
				MountOptions: fuse.MountOptions{AllowOther: true, DirectMountStrict: true, Options: []string{"default_permissions"}}})
			if err != nil {
				t.Fatal(err)
			}
			defer server.Unmount()
			out, _, err := b.without(":", `export TIFFIN_ROOT="$DIR/at/store"
run() { "$TIFFIN" "$@"; }
run run --rm tiffin/base true 2>&1 | head -n 2 | cut -c 1-20
run run --rm tiffin/base true 2>&1 | grep -o 'names of 143 bytes at most'
run doctor | grep -c -e '^FAILED   containers .* names of 143 bytes' -e ' export TIFFIN_RUN_ROOT='
run save tiffin/base | tar -tf - > /dev/null && echo images
export TIFFIN_RUN_ROOT="$DIR/elsewhere"; run run --rm tiffin/base sh -c 'touch $(printf %0200d 0) && echo whole'`)
			if want := "tiffin: the disk of \nhint: set TIFFIN_RUN\nnames of 143 bytes at most\n2\nimages\nwhole\n"; out != want || err != nil {
				t.Errorf("%v\n%sinstead of\n%s", err, out, want)
			}
			if list, err := os.ReadDir(filepath.Join(back, "store/containers")); err != nil || len(list) != 0 {
				t.Errorf("left: %v, %v", list, err)
			}
		})
	}
}

// shortNames is a directory or a file of another file system, with names of 143 bytes at most.
type shortNames struct{ *gofs.LoopbackNode }

func (n *shortNames) WrapChild(_ context.Context, child gofs.InodeEmbedder) gofs.InodeEmbedder {
	return &shortNames{child.(*gofs.LoopbackNode)}
}

const longestName = 143

func (n *shortNames) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	errno := n.LoopbackNode.Statfs(ctx, out)
	out.NameLen = longestName
	return errno
}

func (n *shortNames) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*gofs.Inode, syscall.Errno) {
	if len(name) > longestName {
		return nil, syscall.ENAMETOOLONG
	}
	return n.LoopbackNode.Lookup(ctx, name, out)
}
