// Where the server listens, who can reach it there, and the warnings about that.

package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"tiffin/internal/errs"
)

// CheckPublic refuses an address that other machines reach, unless there is TLS
// or there are passwords.
func (s *Server) CheckPublic(addr string, hasTLS bool) error {
	public, err := isPublic(addr)
	if err != nil || !public || hasTLS || s.Auth != nil {
		return err
	}
	return errs.Hint(fmt.Errorf("%s can be reached from other machines, and there are neither passwords nor TLS", addr),
		"give it --htpasswd FILE, and --tls-cert and --tls-key; or, if everybody on this network may have the images, and replace them, --insecure-public")
}

// Warnings says what a person should know about who can do what.
func (s *Server) Warnings(addr string, hasTLS bool) (all []string) {
	public, err := isPublic(addr)
	if err != nil {
		return nil
	}
	if s.Open && !s.ReadOnly && s.Auth == nil {
		all = append(all, "everybody who reaches "+addr+" can replace your images: --htpasswd FILE or --read-only prevents it")
	}
	if s.Auth != nil && public && !hasTLS {
		all = append(all, "without TLS, passwords can be read by others on the network: --tls-cert and --tls-key prevent it")
	}
	for _, user := range s.idle() {
		all = append(all, fmt.Sprintf("%q may push nowhere: no repository can be called %s/…, and --rights says nothing about this user", user, user))
	}
	return all
}

// isPublic reports whether an address HOST:PORT is more than this machine's own.
func isPublic(addr string) (bool, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false, errs.Hint(fmt.Errorf("%q is no address: %w", addr, err), "write HOST:PORT, such as 127.0.0.1:5000 or [::1]:5000")
	}
	if host == "" {
		return true, nil
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return false, fmt.Errorf("find the address to listen at: %w", err)
	}
	for _, ip := range ips {
		if !ip.IsLoopback() {
			return true, nil
		}
	}
	return false, nil
}

// Listen opens a TCP address.
func Listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, errs.Hint(fmt.Errorf("%s is in use by another program", addr), "take another port, or port 0 for any that is free")
	case errors.Is(err, syscall.EACCES):
		return nil, errs.Hint(fmt.Errorf("listen at %s: %w", addr, err), "ports below 1024 are root's: see ip(7), ip_unprivileged_port_start")
	case err != nil:
		return nil, fmt.Errorf("listen at %s: %w", addr, err)
	}
	return l, nil
}

// ListenUnix opens a socket that only this user can connect to. One that a server
// has left that is gone is replaced.
func ListenUnix(path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s exists and is no socket", path)
		}
		if c, err := net.Dial("unix", path); err == nil {
			c.Close()
			return nil, fmt.Errorf("%s is in use by another program", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("replace the socket: %w", err)
		}
	}
	// unix(7), "Pathname socket ownership and permissions": connecting needs
	// write permission, and the umask decides about it.
	old := syscall.Umask(0o177)
	defer syscall.Umask(old)
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EINVAL) {
		return nil, errs.Hint(fmt.Errorf("listen at %s: %w", path, err), "a socket's path can have 107 bytes: see unix(7)")
	} else if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return l, nil
}

// Certificate reads a certificate and its key for Serve.
func Certificate(cert, key string) (*tls.Config, error) {
	if cert == "" && key == "" {
		return nil, nil
	}
	if cert == "" || key == "" {
		return nil, errors.New("a certificate and its key come together: --tls-cert and --tls-key")
	}
	c, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	return &tls.Config{Certificates: []tls.Certificate{c}, MinVersion: tls.VersionTLS12}, nil
}

// HTTP is the web server that s answers for. Serve or ServeTLS of it begin.
func (s *Server) HTTP(c *tls.Config) *http.Server {
	return &http.Server{
		Handler: s, TLSConfig: c, MaxHeaderBytes: 64 << 10, ConnContext: withPeer,
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: log.New(warnings{s}, "", 0),
	}
}

// warnings are lines for Warn.
type warnings struct{ s *Server }

func (w warnings) Write(b []byte) (int, error) {
	if w.s.Warn != nil {
		w.s.Warn(strings.TrimSpace(string(b)))
	}
	return len(b), nil
}
