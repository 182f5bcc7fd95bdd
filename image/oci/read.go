// Reading what strangers wrote: bounded, and compared with its digest.

package oci

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"tiffin/image/reference"
	"tiffin/internal/errs"
)

const (
	// MaxJSON bounds index.json, manifests and configs, in bytes. Registries
	// allow manifests of 4 MiB; the config carries the history and labels.
	MaxJSON = 16 << 20
	// maxDepth bounds how deep JSON from outside may be nested.
	maxDepth = 64
)

// ErrDamaged is wrapped by errors that name a blob whose bytes do not have its digest.
var ErrDamaged = errors.New("damaged")

// Damaged is the error for a blob that is not what its digest says, and why.
func Damaged(d digest.Digest, why string) error {
	return errs.Hint(fmt.Errorf("blob %s is %w: %s", d, ErrDamaged, why), "load or pull the image again, or remove it if it is the built-in one: that replaces the blob; if it was in another store, TIFFIN_IMAGE_PATH has to name that")
}

// ReadBlob reads a small blob, a manifest or a config, from where open finds it, and checks that
// its bytes have its digest.
func ReadBlob(d digest.Digest, open func(digest.Digest) (io.ReadCloser, error)) ([]byte, error) {
	if !reference.ValidDigest(d) {
		return nil, fmt.Errorf("%q is no sha256 digest", d)
	}
	r, err := open(d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := ReadMax(r, MaxJSON)
	if err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d, err)
	}
	if got := digest.FromBytes(b); got != d {
		return nil, Damaged(d, fmt.Sprintf("its content has digest %s", got))
	}
	return b, nil
}

// ReadMax reads r to its end, of at most limit bytes.
func ReadMax(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("more than the %d bytes allowed", limit)
	}
	return b, err
}

// ReadFile reads a file of at most limit bytes. It does not wait for somebody to write to a fifo,
// which is as good as empty without: fifo(7).
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return ReadMax(f, limit)
}

// Unmarshal decodes JSON from outside, which may not be nested too deeply:
// encoding/json recurses.
func Unmarshal(b []byte, v any) error {
	depth, inString := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fmt.Errorf("nested more than %d deep", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return json.Unmarshal(b, v)
}
