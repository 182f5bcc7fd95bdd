// The keys that detach a user from a container with a terminal, found among all that is typed.

package cli

import (
	"bytes"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func detachKeysFlag() cli.Flag {
	return &cli.StringFlag{Name: "detach-keys", Value: "ctrl-p,ctrl-q",
		Usage: "leave the container with `KEYS`: letters, and ctrl- with one of a to z @ [ \\ ] ^ _, with commas between; '' for none"}
}

// parseDetachKeys returns the characters that keys stand for: docker-run(1), --detach-keys, and
// podman's rule that there may be none.
func parseDetachKeys(keys string) ([]byte, error) {
	if keys == "" {
		return nil, nil
	}
	var list []byte
	for key := range strings.SplitSeq(keys, ",") {
		name, ctrl := strings.CutPrefix(strings.ToLower(key), "ctrl-")
		switch {
		case ctrl && len(name) == 1 && (name[0] >= 'a' && name[0] <= 'z' || strings.Contains(`@[\]^_`, name)):
			list = append(list, name[0]&0x1f) // ascii(7): the control characters are in the same order
		case !ctrl && len(key) == 1:
			list = append(list, key[0])
		default:
			return nil, usagef("--detach-keys %s: %q is no key", keys, key)
		}
	}
	return list, nil
}

// detachDelay is how long a key that may begin the keys to detach is held back. After that the
// command gets it; if the other keys follow, they detach all the same.
const detachDelay = 200 * time.Millisecond

// detachKeys finds the keys in what is typed.
type detachKeys struct {
	keys []byte
	n    int // how many of them have been typed
	sent int // how many of those the command has seen
}

// held tells whether a key is held back.
func (k *detachKeys) held() bool { return k.n > k.sent }

// release returns what has been held back long enough.
func (k *detachKeys) release() []byte {
	out := k.keys[k.sent:k.n]
	k.sent = k.n
	return out
}

// filter returns what the command is to see of b, and whether the keys came.
func (k *detachKeys) filter(b []byte) (out []byte, leave bool) {
	if len(k.keys) == 0 {
		return b, false
	}
	for _, c := range b {
		typed := append(k.keys[:k.n:k.n], c)
		// The end of it may be a new beginning.
		for k.n++; !bytes.Equal(typed[len(typed)-k.n:], k.keys[:k.n]); k.n-- {
		}
		if k.n == len(k.keys) {
			k.n, k.sent = 0, 0
			return out, true
		}
		other := len(typed) - k.n
		out = append(out, typed[min(k.sent, other):other]...)
		k.sent = max(0, k.sent-other)
	}
	return out, false
}
