// The command tiffin serve: the store is a registry for other machines, until a signal ends it.

package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	units "github.com/docker/go-units"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"tiffin/image"
	"tiffin/image/registry/server"
	"tiffin/image/registry/token"
	"tiffin/internal/programs"
)

func serveCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS]",
		Description: "The image that is NAME here is HOST:PORT/NAME for docker, podman, skopeo and tiffin elsewhere; what is pushed\n" +
			"as HOST:PORT/NAME is NAME here, and can be run at once. With --htpasswd, who has a password may pull, and push below NAME/;\n" +
			"--rights FILE says where else, or nowhere. Without passwords,\n" +
			"everybody who reaches the address may pull, everybody with an account on this machine that is, and only you push:\n" +
			"the kernel says whose a connection from this machine is. Where it does not, as for what runs in a container, there is\n" +
			"a password, which tiffin finds by itself; the first lines say how others get it. Who forwards the port lets others push.\n" +
			"Who may push may delete (skopeo delete), and attach signatures and the like to an image (oras attach).\n" +
			"A socket is yours alone, and `ssh -L 5000:SOCKET HOST` makes it 127.0.0.1:5000 elsewhere.\n" +
			"Ctrl-C ends it when the requests that have begun are answered, a second one at once.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "addr", Value: "127.0.0.1:5000", Usage: "listen at `HOST:PORT`; port 0 is any that is free"},
			&cli.StringFlag{Name: "unix", Usage: "listen at a socket that only you can connect to, at `PATH`, instead"},
			&cli.StringSliceFlag{Name: "host", Usage: "another `NAME` of this machine, by which clients call it"},
			&cli.BoolFlag{Name: "read-only", Usage: "nobody can push or delete"},
			&cli.StringFlag{Name: "htpasswd", Usage: "let in whom `FILE` names: htpasswd -B makes it"},
			&cli.StringFlag{Name: "rights", Usage: "where users may push, from `FILE`: a line USER PLACE…, a place is NAME, NAME/* or *; without it, USER/*"},
			&cli.StringFlag{Name: "max-unnamed", Value: "16GiB", Usage: "disk that the uploads of one user may fill before a manifest names them: a `SIZE` such as 500MB"},
			&cli.StringFlag{Name: "tls-cert", Usage: "certificates for TLS, PEM, from `FILE`"},
			&cli.StringFlag{Name: "tls-key", Usage: "their key, PEM, from `FILE`"},
			&cli.BoolFlag{Name: "insecure-public", Usage: "listen where other machines reach it even without passwords and TLS, and let everybody push and delete"},
			&cli.BoolFlag{Name: "quiet", Aliases: []string{"q"}, Usage: "print only the address, and no line for each request"},
		},
		Action: takes(0, 0, "only flags", runServe),
	}
}

func runServe(c *cli.Context) error {
	if c.IsSet("addr") && c.IsSet("unix") {
		return usagef("--addr and --unix are two places to listen at: give one")
	}
	store, err := openStore()
	if err != nil {
		return err
	}
	s := &server.Server{Store: store, ReadOnly: c.Bool("read-only"), Open: c.Bool("insecure-public"), Names: namesOf(c)}
	if !c.Bool("quiet") {
		s.Log, s.Warn = logRequest, func(w string) { warn(printable(w)) }
	}
	if file := c.String("htpasswd"); file != "" {
		if s.Auth, err = server.ReadPasswords(file); err != nil {
			return err
		}
	}
	if file := c.String("rights"); file != "" {
		if s.Auth == nil {
			return usagef("--rights is about the users of --htpasswd")
		}
		if s.Rights, err = server.ReadRights(file, s.Auth); err != nil {
			return err
		}
	}
	if s.Unnamed, err = units.RAMInBytes(c.String("max-unnamed")); err != nil || s.Unnamed <= 0 {
		return usagef("--max-unnamed %q is no size such as 500MB", c.String("max-unnamed"))
	}
	cert, err := server.Certificate(c.String("tls-cert"), c.String("tls-key"))
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 2) // from before there is an address, since a signal leaves none
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM)
	defer signal.Stop(signals)
	l, err := listen(c, s, cert != nil)
	if err != nil {
		return err
	}
	if _, err := store.Resolve(baseName); err != nil && !errors.Is(err, image.ErrNotFound) && !errors.Is(err, programs.ErrNotEmbedded) { // so that it is listed
		warn(err.Error())
	}
	own, err := ownToken(s, l)
	if err != nil {
		l.Close()
		return err
	}
	if own != nil {
		defer own.Close()
	}
	printAddress(l, cert != nil, c.Bool("quiet"), store.Root())
	if own != nil && !c.Bool("quiet") {
		fmt.Fprintf(stdout, "Only you can push, from this machine; podman and what is in a container after\n  podman login --tls-verify=false -u %s --password-stdin %s <\"%s\"\n", token.User, own.Addr, own.File())
	}
	return serveUntilSignal(s, l, cert, signals)
}

// ownToken makes the secret by which clients of this user prove who they are, if the server needs
// one.
func ownToken(s *server.Server, l net.Listener) (*token.Token, error) {
	if s.Auth != nil || s.ReadOnly || s.Open || l.Addr().Network() == "unix" {
		return nil, nil
	}
	own, err := token.New(l.Addr())
	if err != nil {
		return nil, err
	}
	s.Token = own.Secret
	return own, nil
}

// namesOf are what clients may call a server: its machine's name, that of --addr, those of --host.
func namesOf(c *cli.Context) (names []string) {
	machine, _ := os.Hostname()
	at, _, _ := net.SplitHostPort(c.String("addr"))
	for _, name := range append([]string{machine, at}, c.StringSlice("host")...) {
		if name != "" {
			names = append(names, strings.ToLower(name))
		}
	}
	return names
}

func warn(s string) { fmt.Fprintf(stderr, "tiffin: warning: %s\n", s) }

// listen opens the address or socket that the flags name.
func listen(c *cli.Context, s *server.Server, hasTLS bool) (net.Listener, error) {
	if path := c.String("unix"); path != "" {
		return server.ListenUnix(path)
	}
	addr := c.String("addr")
	if !c.Bool("insecure-public") {
		if err := s.CheckPublic(addr, hasTLS); err != nil {
			return nil, err
		}
	}
	l, err := server.Listen(addr)
	if err != nil {
		return nil, err
	}
	for _, w := range s.Warnings(addr, hasTLS) {
		warn(w)
	}
	return l, nil
}

// printAddress says where the images are, for scripts the address alone.
func printAddress(l net.Listener, hasTLS, quiet bool, root string) {
	addr := l.Addr().String()
	switch {
	case l.Addr().Network() == "unix":
		addr = "unix:" + addr
	case hasTLS:
		addr = "https://" + addr
	default:
		addr = "http://" + addr
	}
	if quiet {
		fmt.Fprintln(stdout, addr)
		return
	}
	fmt.Fprintf(stdout, "Serving the images of %s at %s\n", root, addr)
}

// serveUntilSignal answers requests until SIGINT or SIGTERM, and then those that have begun. It
// closes l itself: a signal may come before the web server knows l, which then leaves a socket.
func serveUntilSignal(s *server.Server, l net.Listener, cert *tls.Config, signals <-chan os.Signal) error {
	defer l.Close()
	h := s.HTTP(cert)
	ended := make(chan error, 1)
	go func() {
		if cert != nil {
			ended <- h.ServeTLS(l, "", "")
			return
		}
		ended <- h.Serve(l)
	}()
	select {
	case err := <-ended:
		s.Close()
		return fmt.Errorf("serve: %w", err)
	case <-signals:
	}
	if n := s.Active(); n > 0 {
		fmt.Fprintf(stderr, "tiffin: answering %d more requests; interrupt again to end now\n", n)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-signals
		cancel()
	}()
	err := h.Shutdown(ctx)
	if errors.Is(err, context.Canceled) {
		h.Close()
		err = nil
	}
	s.Close()
	return err
}

// logRequest prints a line for a request:
//
//	2026-01-31 12:00:00 10.0.0.7 anna PUT /v2/lab1/manifests/v1 201 1.2kB in, 0B out, 35ms
func logRequest(r server.Request) {
	who := []string{"local", "-"}
	if host, _, err := net.SplitHostPort(r.Remote); err == nil {
		who[0] = host
	}
	if r.User != "" {
		who[1] = printable(r.User)
	}
	line := fmt.Sprintf("%s %s %s %s %s %d %s in, %s out, %s", r.Time.Format(time.DateTime), who[0], who[1], r.Method, printable(r.Path),
		r.Status, units.HumanSize(float64(r.Received)), units.HumanSize(float64(r.Sent)), r.Took.Round(time.Millisecond))
	// To be asked for a password is how every client begins.
	if r.Err != nil && r.Status != http.StatusNotFound && r.Status != http.StatusUnauthorized {
		line += ": " + printable(r.Err.Error())
	}
	fmt.Fprintln(stderr, line)
}
