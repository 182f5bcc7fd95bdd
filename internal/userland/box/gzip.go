// The commands gzip, gunzip and zcat.

package box

import (
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sys/unix"
)

// gzipCmd: compress or expand files, as gzip, gunzip or zcat.
func gzipCmd(c *Call) {
	c.opts("cdfklntqv123456789", "stdout=c", "decompress=d", "force=f", "keep=k", "test=t", "fast=1", "best=9", "no-name=n", "quiet=q", "verbose=v")
	if c.Name == "gunzip" || c.Name == "zcat" || c.has('t') {
		c.flag['d'] = []string{""}
	}
	toStdout := c.has('c') || c.Name == "zcat" || c.has('t')
	level := gzip.DefaultCompression
	for l := 1; l <= 9; l++ {
		if c.has(byte('0' + l)) {
			level = l
		}
	}
	if len(c.args) == 0 || len(c.args) == 1 && c.args[0] == "-" {
		if !c.has('d') && !c.has('f') && isTerminal(1) {
			c.die(1, "compressed data is not written to a terminal (use -f to do it)")
		}
		if err := c.gzipStream(os.Stdin, os.Stdout, level); err != nil {
			c.die(1, "stdin: %s", reason(err))
		}
		return
	}
	for _, name := range c.args {
		if err := c.gzipFile(name, level, toStdout); err != nil {
			c.fail(name, err)
		}
	}
}

// gzipStream compresses or expands one stream; -t only reads it.
func (c *Call) gzipStream(r io.Reader, w io.Writer, level int) error {
	if c.has('t') {
		w = io.Discard
	}
	if c.has('d') {
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		_, err = io.Copy(w, z)
		return err
	}
	z, err := gzip.NewWriterLevel(w, level)
	if err != nil {
		return err
	}
	if _, err := io.Copy(z, r); err != nil {
		return err
	}
	return z.Close()
}

func (c *Call) gzipFile(name string, level int, toStdout bool) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	defer in.Close()
	fi, err := in.Stat()
	if err == nil && !fi.Mode().IsRegular() && !toStdout {
		err = fmt.Errorf("not a regular file, left out")
	}
	if err != nil {
		return err
	}
	if toStdout {
		return c.gzipStream(in, os.Stdout, level)
	}
	target := name + ".gz"
	if c.has('d') {
		var ok bool
		if target, ok = strings.CutSuffix(name, ".gz"); !ok {
			if target, ok = strings.CutSuffix(name, ".tgz"); !ok {
				return fmt.Errorf("unknown suffix, left out")
			}
			target += ".tar"
		}
	}
	mode := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if c.has('f') {
		mode = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	out, err := os.OpenFile(target, mode, fi.Mode().Perm())
	if err != nil {
		return place(target, err)
	}
	err = c.gzipStream(in, out, level)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(target)
		return err
	}
	unix.Chmod(target, uint32(fi.Mode().Perm()))
	os.Chtimes(target, fi.ModTime(), fi.ModTime())
	if !c.has('k') {
		return os.Remove(name)
	}
	return nil
}
