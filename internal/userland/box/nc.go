// Connections of TCP by hand: nc, and names that getent asks the network for.

package box

import (
	"io"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// nc: standard input goes to the other side, and what comes from there to standard output. The
// end of the input is passed on (shutdown(2)): a web client waits for the end of a page.
func nc(c *Call) {
	c.opts("lkzw:p:")
	var wait time.Duration // for a connection; 0: as long as the kernel tries
	if w := c.val('w'); w != "" {
		n, err := strconv.Atoi(w)
		if err != nil || n < 1 {
			c.die(1, "%s: not a number of seconds", w)
		}
		wait = time.Duration(n) * time.Second
	}
	if c.has('l') {
		c.listen()
		return
	}
	c.need(2, 2)
	conn, err := net.DialTimeout("tcp", net.JoinHostPort(c.args[0], c.args[1]), wait)
	if err != nil {
		c.die(1, "%s port %s: %s", c.args[0], c.args[1], reason(err))
	}
	if !c.has('z') {
		c.pass(conn.(*net.TCPConn))
	}
}

// listen waits for a connection, or with -k for one after the other.
func (c *Call) listen() {
	if p := c.val('p'); p != "" {
		c.args = append(c.args, p)
	}
	c.need(1, 2)
	host, port := "", c.args[len(c.args)-1]
	if len(c.args) == 2 {
		host = c.args[0]
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	for err == nil {
		var conn net.Conn
		if conn, err = l.Accept(); err == nil {
			if !c.has('k') {
				l.Close()
			}
			c.pass(conn.(*net.TCPConn))
			if !c.has('k') {
				return
			}
		}
	}
	c.die(1, "port %s: %s", port, reason(err))
}

// pass passes both directions on until both have ended. A person who types is not waited for.
func (c *Call) pass(conn *net.TCPConn) {
	defer conn.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.Copy(conn, os.Stdin)
		_ = conn.CloseWrite()
	}()
	if _, err := io.Copy(stdout{c.Name}, conn); err != nil {
		c.warn("%s", reason(err))
	}
	if _, err := unix.IoctlGetTermios(0, unix.TCGETS); err != nil {
		<-sent
	}
}
