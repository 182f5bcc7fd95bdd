// Package token is how a registry of this machine and its clients find out that one person runs
// both. A port of 127.0.0.1 has no owner: everybody with an account reaches it, and a browser can
// be led there. So a server makes a secret when it starts, in a file that only its user can read,
// and whoever presents it may write:
//
//	$XDG_STATE_HOME/tiffin/serve/HOST/127.0.0.1:5000     HOST is this machine's name,
//	                                                     for machines may share a home
//
// The server holds a lock on the file as long as it runs, and deletes it in the end. A file without
// a lock was left by a server that was killed: its port may be another user's by now, and the
// secret is not sent there.
package token

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"tiffin/internal/errs"
)

// User is the name that goes with the secret where a name is wanted, as in RFC 7617.
const User = "owner"

// Token is the secret of a server that is running.
type Token struct {
	Secret string
	Addr   string // where it listens, IP:PORT
	file   *os.File
}

// New makes the secret of a server that listens at addr, and deletes those that killed servers
// have left.
func New(addr net.Addr) (*Token, error) {
	t, err := create(addr)
	if err != nil {
		return nil, errs.Hint(fmt.Errorf("keep the password of this server: %w", err),
			"with --htpasswd FILE or --read-only it needs none of its own")
	}
	return t, nil
}

func create(addr net.Addr) (*Token, error) {
	dir, err := directory()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sweep(dir)
	f, err := os.CreateTemp(dir, ".new-") // with mode 0600
	if err != nil {
		return nil, err
	}
	t := &Token{Secret: rand.Text(), Addr: reachable(addr), file: f}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		_, err = io.WriteString(f, t.Secret+"\n")
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, t.Addr))
	}
	if err != nil {
		os.Remove(f.Name())
		f.Close()
		return nil, err
	}
	return t, nil
}

// File is the path of the secret.
func (t *Token) File() string { return filepath.Join(filepath.Dir(t.file.Name()), t.Addr) }

// Close makes the secret worthless.
func (t *Token) Close() {
	ours, err1 := t.file.Stat()
	there, err2 := os.Lstat(t.File())
	if err1 == nil && err2 == nil && os.SameFile(ours, there) { // another server may have the port by now
		os.Remove(t.File())
	}
	t.file.Close()
}

// Find returns the token of this user's server at HOST:PORT, where HOST is an IP address or
// localhost. The caller must then use the token's address: another user may listen at another
// address that localhost stands for.
func Find(hostPort string) (*Token, bool) {
	host, port, err := net.SplitHostPort(hostPort)
	if err != nil {
		return nil, false
	}
	hosts := []string{host}
	if host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	for _, h := range hosts {
		if net.ParseIP(h) == nil {
			continue
		}
		addr := net.JoinHostPort(h, port)
		if secret, ok := read(addr); ok {
			return &Token{Secret: secret, Addr: addr}, true
		}
	}
	return nil, false
}

// read reads a secret whose server is running, if the file is this user's alone.
func read(addr string) (secret string, ok bool) {
	dir, err := directory()
	if err != nil {
		return "", false
	}
	f, err := os.OpenFile(filepath.Join(dir, addr), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", false
	}
	defer f.Close()
	var st unix.Stat_t
	if unix.Fstat(int(f.Fd()), &st) != nil || st.Mode&^0o700 != unix.S_IFREG || int(st.Uid) != os.Getuid() || abandoned(f) {
		return "", false
	}
	b, err := io.ReadAll(io.LimitReader(f, 100))
	secret = strings.TrimSpace(string(b))
	return secret, err == nil && secret != ""
}

// abandoned reports whether no process has locked a secret: flock(2).
func abandoned(f *os.File) bool {
	return !errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// sweep deletes the secrets of servers that were killed.
func sweep(dir string) {
	names, _ := filepath.Glob(filepath.Join(dir, "*:*"))
	for _, name := range names {
		if f, err := os.Open(name); err == nil {
			if abandoned(f) {
				os.Remove(name)
			}
			f.Close()
		}
	}
}

// directory is where the secrets of this machine's servers are.
func directory() (string, error) {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", err
		}
		state = filepath.Join(home, ".local", "state")
	}
	machine, err := os.Hostname()
	if err != nil {
		return "", err
	}
	return filepath.Join(state, "tiffin", "serve", filepath.Base(machine)), nil
}

// reachable is the address at which a client of this machine reaches a server: one that
// listens at all addresses is also at 127.0.0.1.
func reachable(addr net.Addr) string {
	if tcp, ok := addr.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		return net.JoinHostPort("127.0.0.1", fmt.Sprint(tcp.Port))
	}
	return addr.String()
}
