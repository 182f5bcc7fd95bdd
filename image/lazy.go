// Images that are being pulled lazily: they can be run before their layers are here.
//
// Such an image is no part of the OCI layout, and index.json does not name it: no other program,
// and no command that needs blobs, may take it for one that is here. It has a directory,
//
//	lazy/HEX          HEX is the digest of its manifest
//	  pull.json       LazyPull
//	  manifest config top    as they came; top is the index that led to the manifest, if one did
//	  union           merged index of all layers
//	  HEX/            each layer that was not here: package layer, lazy.go
//	  lock socket     of the program that fetches the rest: package lazy
//	  trouble         why fetching it did not work the last time
//	  failed          why the image is not what its manifest promises
//
// which appears by one rename(2), and goes when the image has got its place among the others.

package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"

	units "github.com/docker/go-units"
	digest "github.com/opencontainers/go-digest"

	"tiffin/image/cache"
	"tiffin/image/layer"
	"tiffin/image/oci"
	"tiffin/image/reference"
	"tiffin/image/store"
	"tiffin/internal/errs"
)

// Names of files in the directory of an image that is being pulled.
const (
	LazyDirName      = "lazy"
	LazyPullName     = "pull.json"
	LazyManifestName = "manifest"
	LazyConfigName   = "config"
	LazyTopName      = "top"
	LazyUnionName    = "union"
	LazyFailedName   = "failed"
	LazyTroubleName  = "trouble"
)

var (
	// ErrPulling is wrapped by errors that say that an image is not all here yet.
	ErrPulling = errors.New("is still being pulled")
	// ErrNotWhole is wrapped by errors that say that it will not be.
	ErrNotWhole = errors.New("cannot be pulled lazily")
)

// LazyPull says where an image comes from, and what becomes of it once it is here.
type LazyPull struct {
	From  LazySource `json:"from"`
	Names []LazyName `json:"names"`
}

// LazySource is what a registry has the image under.
type LazySource struct {
	Name     string `json:"name"`               // the whole one
	Insecure bool   `json:"insecure,omitempty"` // --tls-verify=false, for this registry alone
}

// LazyName is a name that the image gets, and what that stood for when it was asked for. If it
// stands for something else by then, somebody has changed his mind.
type LazyName struct {
	Name   string        `json:"name"`             // the whole one
	Before digest.Digest `json:"before,omitempty"` // of a manifest; "": of none
}

// Lazy is an image that is being pulled.
type Lazy struct {
	LazyPull
	Dir      string
	Document *oci.Document
	RawConf  []byte // its config, as it came
	Top      []byte // the index that led to it, or nil
	Image    *Image // with those of its names that are still its
	Failed   string // why it cannot be what it should be, or ""
}

// LazyDir is the directory of an image that is pulled lazily.
func (s *Store) LazyDir(manifest digest.Digest) string {
	return s.Path(LazyDirName, manifest.Encoded())
}

// Lazies lists the images that are being pulled. Those that cannot be read are left out and named
// in the error.
func (s *Store) Lazies() (all []*Lazy, err error) {
	dirs, e := os.ReadDir(s.Path(LazyDirName)) // most stores have none
	if errors.Is(e, fs.ErrNotExist) || len(dirs) == 0 {
		return nil, nil
	}
	ix, e := s.ReadIndex()
	if e != nil {
		return nil, e
	}
	for _, d := range dirs {
		lz, e := s.ReadLazy(ix, digest.NewDigestFromEncoded(digest.SHA256, d.Name()))
		if errors.Is(e, fs.ErrNotExist) {
			continue // it is all here now
		}
		if e != nil {
			err = errors.Join(err, fmt.Errorf("the lazy pull in %s: %w", s.Path(LazyDirName, d.Name()), e))
			continue
		}
		all = append(all, lz)
	}
	return all, err
}

// ReadLazy reads one of them; ix decides which names are still its.
func (s *Store) ReadLazy(ix *store.Index, manifest digest.Digest) (*Lazy, error) {
	if !reference.ValidDigest(manifest) {
		return nil, fmt.Errorf("%q is no sha256 digest", manifest)
	}
	lz := &Lazy{Dir: s.LazyDir(manifest)}
	b, err := oci.ReadFile(filepath.Join(lz.Dir, LazyPullName), oci.MaxJSON)
	if err == nil {
		err = json.Unmarshal(b, &lz.LazyPull)
	}
	if err != nil {
		return nil, err
	}
	if b, err = oci.ReadFile(filepath.Join(lz.Dir, LazyManifestName), oci.MaxJSON); err != nil {
		return nil, err
	}
	if lz.Document, err = oci.ParseDocument(b); err == nil {
		err = lz.Document.CheckImage()
	}
	if err == nil && lz.Document.Digest != manifest {
		err = oci.Damaged(manifest, "its content has digest "+lz.Document.Digest.String())
	}
	if err != nil {
		return nil, err
	}
	if lz.RawConf, err = oci.ReadFile(filepath.Join(lz.Dir, LazyConfigName), oci.MaxJSON); err != nil {
		return nil, err
	}
	if got := digest.FromBytes(lz.RawConf); got != lz.Document.Config.Digest {
		return nil, oci.Damaged(lz.Document.Config.Digest, "its content has digest "+got.String())
	}
	if lz.Top, err = oci.ReadFile(filepath.Join(lz.Dir, LazyTopName), oci.MaxJSON); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if b, err = oci.ReadFile(filepath.Join(lz.Dir, LazyFailedName), oci.MaxJSON); err == nil {
		lz.Failed = string(b)
	}
	return lz, s.lazyImage(ix, lz)
}

// lazyImage makes the Image of one that is being pulled.
func (s *Store) lazyImage(ix *store.Index, lz *Lazy) error {
	c, err := oci.ParseConfig(lz.RawConf, len(lz.Document.Layers))
	if err != nil {
		return err
	}
	img := &Image{ID: lz.Document.Config.Digest, Manifest: lz.Document.Descriptor(), Config: c, Digests: map[string]digest.Digest{}, lazy: lz}
	if c.Created != nil {
		img.Created = *c.Created
	}
	top := img.Manifest.Digest
	if lz.Top != nil {
		top = digest.FromBytes(lz.Top)
	}
	for i, l := range lz.Document.Layers {
		ly := oci.Layer{DiffID: c.RootFS.DiffIDs[i], Digest: l.Digest, Size: l.Size, MediaType: l.MediaType}
		img.Layers = append(img.Layers, ly)
		img.Size += s.layerSize(img, ly)
	}
	for _, n := range lz.StillIts(ix) {
		img.Names = append(img.Names, n.Familiar())
		img.Digests[n.Familiar()] = top
	}
	sort.Strings(img.Names)
	lz.Image = img
	return nil
}

// StillIts are the names that stand for what they stood for when the pull began, or for the image.
func (lz *Lazy) StillIts(ix *store.Index) (rs []reference.Reference) {
	for _, n := range lz.Names {
		r, err := reference.Parse(n.Name)
		if err != nil {
			continue
		}
		now := digest.Digest("")
		if d := ix.Find(r.Stored()); d != nil {
			now = d.Digest
		}
		if now == n.Before || now == lz.Document.Digest {
			rs = append(rs, r.Stored())
		}
	}
	return rs
}

func (lz *Lazy) path(diffID digest.Digest, name string) string {
	return filepath.Join(lz.Dir, diffID.Encoded(), name)
}

// LazyOf finds the image that is being pulled which a person means by a name or an ID, or nil. An
// image that is here has precedence by its ID.
func (s *Store) LazyOf(ref string) *Lazy {
	all, _ := s.Lazies()
	if len(all) == 0 {
		return nil
	}
	r, err := reference.Parse(ref)
	i := slices.IndexFunc(all, func(lz *Lazy) bool { return err == nil && lz.nameOf(r) != "" })
	if i < 0 {
		hex, whole := ref, false
		if len(ref) > 7 && ref[:7] == "sha256:" {
			hex = ref[7:]
		}
		whole = len(hex) == 64
		i = slices.IndexFunc(all, func(lz *Lazy) bool {
			id := lz.Image.ID.Encoded()
			return hex != "" && reference.IsHex(hex) && (len(hex) <= 64 && id[:len(hex)] == hex || whole && lz.Document.Digest.Encoded() == hex)
		})
		if ix, err := s.ReadIndex(); i >= 0 && err == nil {
			if d, err := s.lookup(ix, ref); err == nil && d != nil {
				return nil
			}
		}
	}
	if i < 0 {
		return nil
	}
	return all[i]
}

// nameOf is the one of the image's names, in familiar form, that a person means by r, or "".
func (lz *Lazy) nameOf(r reference.Reference) string {
	i := slices.IndexFunc(lz.Image.Names, func(n string) bool {
		own, err := reference.Parse(n)
		return n == r.Stored().Familiar() || err == nil && r.Digest != "" && own.Name() == r.Name() &&
			(r.Digest == lz.Document.Digest || r.Digest == lz.Image.Digests[n])
	})
	if i < 0 {
		return ""
	}
	return lz.Image.Names[i]
}

// Pulling is the error of a command that needs all of the image.
func (s *Store) Pulling(lz *Lazy) error {
	name := reference.Short(lz.Image.ID)
	if len(lz.Image.Names) > 0 {
		name = lz.Image.Names[0]
	}
	if lz.Failed != "" {
		return errs.Hint(fmt.Errorf("image %s %w: %s", name, ErrNotWhole, lz.Failed), "`tiffin pull "+name+"` takes it as its layers are, if they are what the image says; `tiffin rmi "+name+"` forgets it")
	}
	have, total := s.LazyProgress(lz.Image)
	err := fmt.Errorf("image %s %w: %s of %s", name, ErrPulling, units.HumanSize(float64(have)), units.HumanSize(float64(total)))
	if why := lz.trouble(); why != "" {
		err = fmt.Errorf("%w; the last try ended with: %s", err, why)
	}
	return errs.Hint(err,
		"it can be run meanwhile, with --driver fuse; `tiffin pull "+name+"` waits for the rest")
}

// trouble is why the last try to fetch the rest ended, or "".
func (lz *Lazy) trouble() string {
	b, _ := oci.ReadFile(filepath.Join(lz.Dir, LazyTroubleName), oci.MaxJSON)
	return string(b)
}

// NeedsAll is an error for an image that is still being pulled.
func (s *Store) NeedsAll(img *Image) error {
	if img.lazy == nil {
		return nil
	}
	return s.Pulling(img.lazy)
}

// LazyProgress is how much of an image's layers is here, and how much there is, in bytes as they
// travel.
func (s *Store) LazyProgress(img *Image) (have, total int64) {
	for _, l := range img.Layers {
		total += l.Size
		if store.Readable(s.FindBlob(l.Digest)) {
			have += l.Size
		} else {
			have += min(s.PartialSize(l.Digest), l.Size)
		}
	}
	return have, total
}

// ResolveLazy is Resolve for those who need no blobs of an image: its manifest, its config, what is
// in its layers, and bytes of single files.
func (s *Store) ResolveLazy(ref string) (*Image, error) {
	if lz := s.LazyOf(ref); lz != nil {
		if lz.Failed != "" {
			return nil, s.Pulling(lz)
		}
		return lz.Image, nil
	}
	return s.Resolve(ref)
}

// Lazy is the directory of the lazy pull that the image comes by, or "".
func (img *Image) Lazy() string {
	if img.lazy == nil {
		return ""
	}
	return img.lazy.Dir
}

// lazyMountable says where the files of an image are that is being pulled.
func (s *Store) lazyMountable(img *Image) (*cache.Mountable, error) {
	m, _ := s.Paths(img.Layers)
	m.Lazy, m.UnionPath, m.StartPath = img.lazy.Dir, filepath.Join(img.lazy.Dir, LazyUnionName), ""
	for i, l := range img.Layers {
		if store.Readable(img.lazy.path(l.DiffID, store.BlocksName)) {
			m.FlatPaths[i], m.BlockPaths[i], m.IndexPaths[i] = img.lazy.path(l.DiffID, store.FlatName), img.lazy.path(l.DiffID, store.BlocksName), img.lazy.path(l.DiffID, store.IndexName)
		}
	}
	if _, err := layer.PeekFlatSize(m.UnionPath); err != nil {
		return nil, err
	}
	return m, nil
}

// WriteLazyPull replaces pull.json. The caller has the lock.
func (s *Store) WriteLazyPull(lz *Lazy) error {
	b, err := json.Marshal(lz.LazyPull)
	path := filepath.Join(lz.Dir, LazyPullName)
	if err == nil {
		err = store.WriteFile(path+".new", b, true)
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

// ForgetLazy removes the directory of a lazy pull, and returns the bytes of disk that come free.
// Programs that have its files open keep them; the one that fetches sees that it is gone, and ends.
func (s *Store) ForgetLazy(dir string) (bytes int64, err error) {
	st, err := s.Stage()
	if err != nil {
		return 0, err
	}
	defer st.Close()
	to := st.Path(LazyDirName)
	if err := os.Rename(dir, to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	os.Remove(s.Path(LazyDirName)) // if it is empty
	parts, _ := os.ReadDir(to)
	for _, p := range parts {
		n, _ := store.RemoveTree(filepath.Join(to, p.Name())) // or Close does it
		bytes += n
	}
	return bytes, nil
}

// ForgetPulled removes the lazy pulls of an image that is here as a whole now.
func (s *Store) ForgetPulled(manifest digest.Digest) {
	dir := s.LazyDir(manifest)
	if !store.Readable(dir) {
		return
	}
	if _, release, err := s.LockIndex(); err == nil {
		defer release()
		_, _ = s.ForgetLazy(dir)
	}
}

// addLazy adds the layers of images that are being pulled, as far as they are here.
func (n *needs) addLazy(s *Store) error {
	all, err := s.Lazies()
	for _, lz := range all {
		for _, l := range lz.Image.Layers {
			n.blobs[l.Digest.Encoded()], n.layers[l.DiffID.Encoded()] = true, true
		}
	}
	return err
}
