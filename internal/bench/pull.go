// The clients of scripts/bench scale serve: many at once pull one image from each of several
// servers, in turn. A client is as cheap as can be, so that what is measured is the server: it
// throws bytes away in the kernel, and looks at none but those of manifests.

package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// registryServer is one that is measured: process pid and its children, which serve the manifest at
// url.
type registryServer struct {
	name string
	pid  int
	url  *url.URL
	got  []pullResult
}

// pullResult is one round: how long it took and the slowest client in terms of the fastest, what
// the server spent, and how many clients failed.
type pullResult struct {
	seconds, cpu, spread, memory float64 // s, s, 1, MiB
	failed                       int
}

// netPull measures servers that are given as NAME=PID=URL, and prints a table with ratios to the
// first.
func netPull(clients, rounds int, servers []string) error {
	var all []*registryServer
	for _, text := range servers {
		name, rest, _ := strings.Cut(text, "=")
		pid, manifest, _ := strings.Cut(rest, "=")
		s := &registryServer{name: name}
		var err error
		if s.pid, err = strconv.Atoi(pid); err != nil {
			return fmt.Errorf("%q is not NAME=PID=URL", text)
		}
		if s.url, err = url.Parse(manifest); err != nil {
			return err
		}
		if _, err := s.pull(true); err != nil { // it is right, and in the page cache
			return fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, s)
	}
	for range rounds {
		for _, s := range all {
			s.got = append(s.got, s.measure(clients))
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\tseconds\t\tCPU s\t\tpeak MiB\t\tslowest/fastest\tfailed\t\n")
	for _, s := range all {
		fmt.Fprintf(w, "%s\t", s.name)
		for _, of := range []func(pullResult) float64{
			func(r pullResult) float64 { return r.seconds },
			func(r pullResult) float64 { return r.cpu },
			func(r pullResult) float64 { return r.memory },
		} {
			fmt.Fprintf(w, "%.2f\t(%.2f)\t", s.median(of), s.median(of)/all[0].median(of))
		}
		failed := 0
		for _, r := range s.got {
			failed += r.failed
		}
		fmt.Fprintf(w, "%.2f\t%d\t\n", s.median(func(r pullResult) float64 { return r.spread }), failed)
	}
	return w.Flush()
}

func (s *registryServer) median(of func(pullResult) float64) float64 {
	var v []float64
	for _, r := range s.got {
		v = append(v, of(r))
	}
	slices.Sort(v)
	return v[len(v)/2]
}

// measure has clients pull at once.
func (s *registryServer) measure(clients int) (r pullResult) {
	took, failed := make([]time.Duration, clients), make([]error, clients)
	before, began := s.spent(), time.Now()
	ended := make(chan struct{})
	var watch, wg sync.WaitGroup
	watch.Go(func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(200 * time.Millisecond):
				r.memory = max(r.memory, s.memory())
			}
		}
	})
	for i := range clients {
		wg.Go(func() {
			took[i], failed[i] = s.pull(false)
		})
	}
	wg.Wait()
	r.seconds, r.cpu = time.Since(began).Seconds(), (s.spent() - before).Seconds()
	close(ended)
	watch.Wait()
	r.spread = float64(slices.Max(took)) / float64(slices.Min(took))
	for _, err := range failed {
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", s.name, err)
			r.failed++
		}
	}
	return r
}

// pull gets the manifest and then its blobs by one connection. check hashes them.
func (s *registryServer) pull(check bool) (time.Duration, error) {
	began := time.Now()
	c, err := net.Dial("tcp", s.url.Host)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	_ = c.SetDeadline(began.Add(10 * time.Minute))
	in := bufio.NewReader(c)
	n, err := s.ask(c, in, s.url.Path)
	if err != nil {
		return 0, err
	}
	var m v1.Manifest
	if err := json.NewDecoder(io.LimitReader(in, n)).Decode(&m); err != nil {
		return 0, err
	}
	repo, _, _ := strings.Cut(s.url.Path, "/manifests/")
	for _, d := range append(m.Layers, m.Config) {
		n, err := s.ask(c, in, repo+"/blobs/"+d.Digest.String())
		switch {
		case err != nil:
			return 0, err
		case n != d.Size:
			return 0, fmt.Errorf("%s has %d bytes instead of %d", d.Digest, n, d.Size)
		case check:
			h := sha256.New()
			if _, err := io.CopyN(h, in, n); err != nil {
				return 0, err
			}
			if got := fmt.Sprintf("sha256:%x", h.Sum(nil)); got != d.Digest.String() {
				return 0, fmt.Errorf("%s came instead of %s", got, d.Digest)
			}
		default:
			if err := discard(c.(*net.TCPConn), in, n); err != nil {
				return 0, err
			}
		}
	}
	return time.Since(began), nil
}

// ask sends a request and reads the answer's head; n bytes follow.
func (s *registryServer) ask(c net.Conn, in *bufio.Reader, path string) (n int64, err error) {
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\nAccept: %s\r\n\r\n", path, s.url.Host, v1.MediaTypeImageManifest); err != nil {
		return 0, err
	}
	resp, err := http.ReadResponse(in, nil)
	if err == nil && (resp.StatusCode != http.StatusOK || resp.ContentLength < 0) {
		err = fmt.Errorf("%s: %s, %d bytes", path, resp.Status, resp.ContentLength)
	}
	if err != nil {
		return 0, err
	}
	return resp.ContentLength, nil
}

// thrown is where no byte ever gets.
var thrown [4 << 20]byte

// discard reads n bytes that nobody looks at. tcp(7): with MSG_TRUNC recv(2) discards what it would
// copy.
func discard(c *net.TCPConn, in *bufio.Reader, n int64) error {
	buffered, err := in.Discard(int(min(n, int64(in.Buffered()))))
	if err != nil {
		return err
	}
	n -= int64(buffered)
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	for n > 0 {
		var got int
		var failure error
		err := raw.Read(func(fd uintptr) bool {
			got, _, failure = syscall.Recvfrom(int(fd), thrown[:min(n, int64(len(thrown)))], syscall.MSG_TRUNC)
			return failure != syscall.EAGAIN
		})
		switch {
		case err != nil:
			return err
		case failure != nil && failure != syscall.EINTR:
			return failure
		case failure == nil && got == 0:
			return io.ErrUnexpectedEOF
		}
		n -= int64(max(got, 0))
	}
	return nil
}

// processes are those of the server, by their directories in /proc.
func (s *registryServer) processes() []string {
	all := []string{fmt.Sprintf("/proc/%d", s.pid)}
	children, _ := filepath.Glob(all[0] + "/task/*/children")
	for _, file := range children {
		text, _ := os.ReadFile(file) // proc(5)
		for pid := range strings.FieldsSeq(string(text)) {
			all = append(all, "/proc/"+pid)
		}
	}
	return all
}

// spent is the processor time that the server has had.
func (s *registryServer) spent() (all time.Duration) {
	for _, dir := range s.processes() {
		all += processCPU(dir)
	}
	return all
}

// memory is what the server has resident, in MiB; pages that its processes share count once.
func (s *registryServer) memory() (mib float64) {
	for _, dir := range s.processes() {
		text, _ := os.ReadFile(dir + "/smaps_rollup") // proc(5)
		for line := range strings.Lines(string(text)) {
			if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
				kib, _ := strconv.Atoi(f[1])
				mib += float64(kib) / 1024
			}
		}
	}
	return mib
}
