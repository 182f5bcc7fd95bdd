package cli

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"tiffin/image/registry/server"
)

// A signal that is there before the first request is waited for leaves no socket either.
func TestServeLeavesNoSocketHoweverEarlyTheSignal(t *testing.T) {
	for range 20 {
		socket := filepath.Join(t.TempDir(), "s")
		l, err := server.ListenUnix(socket)
		if err != nil {
			t.Fatal(err)
		}
		signals := make(chan os.Signal, 2)
		signals <- unix.SIGTERM
		if err := serveUntilSignal(&server.Server{}, l, nil, signals); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Lstat(socket); !os.IsNotExist(err) {
			t.Fatalf("the socket is there after the end: %v", err)
		}
	}
}
