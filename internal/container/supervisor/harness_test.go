// What the tests of this package share.

package supervisor

import (
	"testing"
	"time"

	"tiffin/internal/container/control"
	"tiffin/internal/wire"
)

// connection returns both ends of one. What the client waits for comes within a minute, or is an
// error.
func connection(t testing.TB) (client, server *control.Conn) {
	t.Helper()
	mine, f, err := wire.Pair()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mine.Close() })
	theirs, err := wire.Open(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { theirs.Close() })
	mine.SetDeadline(time.Now().Add(time.Minute))
	return &control.Conn{Conn: mine}, &control.Conn{Conn: theirs}
}
