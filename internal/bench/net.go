// The servers and clients of scripts/bench net. Each client prints one line for each thing it
// measures: NAME, value, unit.

package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Ports of the servers, one after the other.
const (
	portHTTP = iota
	portEcho // each byte comes back
	portSource
	portSink
)

const (
	netTime    = time.Second // how long each thing is measured
	netClients = 16          // at once, for requests and connections
	netPiece   = 128 << 10   // bytes of one read or write
)

// netServe serves at four ports from base on, until it is killed.
func netServe(base int) error {
	listen := func(n int) (net.Listener, error) { return net.Listen("tcp4", fmt.Sprintf(":%d", base+n)) }
	web, err := listen(portHTTP)
	if err != nil {
		return err
	}
	for n, serve := range map[int]func(net.Conn){
		portEcho: func(c net.Conn) {
			b := make([]byte, 64)
			for {
				n, err := c.Read(b)
				if err != nil {
					return
				}
				_, _ = c.Write(b[:n])
			}
		},
		portSource: func(c net.Conn) {
			for b := make([]byte, netPiece); ; {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		},
		portSink: func(c net.Conn) { drain(c, nil) },
	} {
		l, err := listen(n)
		if err != nil {
			return err
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					continue
				}
				go func() {
					defer c.Close()
					serve(c)
				}()
			}
		}()
	}
	fmt.Println("serving")
	return http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello\n") }))
}

// drain reads until the end, by read(2): what Go would do with splice(2) is not measured here.
func drain(c net.Conn, count *atomic.Int64) {
	for b := make([]byte, netPiece); ; {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if count != nil {
			count.Add(int64(n))
		}
	}
}

// netLoad measures what is served at four addresses.
func netLoad(at []string) error {
	if len(at) != 4 {
		return fmt.Errorf("4 addresses, not %d", len(at))
	}
	for _, measure := range []func([]string) error{netDown, netUp, netRequests, netConnections, netLatency} {
		if err := measure(at); err != nil {
			return err
		}
	}
	return nil
}

func netDown(at []string) error {
	c, err := net.Dial("tcp", at[portSource])
	if err != nil {
		return err
	}
	var bytes atomic.Int64
	go drain(c, &bytes)
	return netBytes("down", c, &bytes)
}

func netUp(at []string) error {
	c, err := net.Dial("tcp", at[portSink])
	if err != nil {
		return err
	}
	var bytes atomic.Int64
	go func() {
		for b := make([]byte, netPiece); ; {
			n, err := c.Write(b)
			if err != nil {
				return
			}
			bytes.Add(int64(n))
		}
	}()
	return netBytes("up", c, &bytes)
}

// netBytes measures a connection that is in use: bytes a second, and what they cost all processes
// of this user.
func netBytes(name string, c net.Conn, bytes *atomic.Int64) error {
	defer c.Close()
	time.Sleep(netTime / 5) // it has found its speed
	n, cpu, began := bytes.Load(), userCPU(), time.Now()
	time.Sleep(netTime)
	n, took, spent := bytes.Load()-n, time.Since(began), userCPU()-cpu
	fmt.Printf("%s\t%.0f\tMiB/s\n", name, float64(n)/(1<<20)/took.Seconds())
	fmt.Printf("%s, CPU\t%.2f\ts/GiB\n", name, spent.Seconds()/(float64(n)/(1<<30)))
	return nil
}

// userCPU is the time that all processes of this user have had, proc(5), /proc/PID/stat. Those in
// its user namespaces belong to it as well.
func userCPU() (all time.Duration) {
	proc := cmp.Or(os.Getenv("PROC"), "/proc") // in a container, that of the machine
	names, _ := filepath.Glob(proc + "/[0-9]*")
	for _, dir := range names {
		fi, err := os.Stat(dir)
		if err != nil || fi.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
			continue
		}
		all += processCPU(dir)
	}
	return all
}

// processCPU is the time of one process, whose directory in /proc is dir.
func processCPU(dir string) (spent time.Duration) {
	text, _ := os.ReadFile(dir + "/stat")
	_, rest, _ := strings.Cut(string(text), ") ")
	if f := strings.Fields(rest); len(f) > 13 {
		for _, ticks := range f[11:13] { // of 10 ms
			n, _ := strconv.Atoi(ticks)
			spent += time.Duration(n) * 10 * time.Millisecond
		}
	}
	return spent
}

// repeat has several clients do something again and again for a while, and prints how often.
func repeat(name, unit string, client func() (again func() error, err error)) error {
	var wg sync.WaitGroup
	var count atomic.Int64
	failed := make(chan error, netClients)
	cpu, end := userCPU(), time.Now().Add(netTime)
	for range netClients {
		wg.Go(func() {
			again, err := client()
			for err == nil && time.Now().Before(end) {
				if err = again(); err == nil {
					count.Add(1)
				}
			}
			failed <- err
		})
	}
	wg.Wait()
	fmt.Printf("%s\t%.0f\t%s\n", name, float64(count.Load())/netTime.Seconds(), unit)
	fmt.Printf("%s, CPU\t%.1f\tµs\n", name, float64((userCPU()-cpu).Microseconds())/float64(count.Load()))
	for range netClients {
		if err := <-failed; err != nil {
			return err
		}
	}
	return nil
}

func netRequests(at []string) error {
	return repeat("requests", "1/s", func() (func() error, error) {
		c, err := net.Dial("tcp", at[portHTTP])
		if err != nil {
			return nil, err
		}
		in := bufio.NewReader(c)
		return func() error {
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
				return err
			}
			for {
				line, err := in.ReadString('\n')
				if err != nil || line == "hello\n" {
					return err
				}
			}
		}, nil
	})
}

func netConnections(at []string) error {
	return repeat("connections", "1/s", func() (func() error, error) {
		return func() error { return ping(at[portEcho]) }, nil
	})
}

// ping connects, sends a byte, has it back and ends.
func ping(at string) error {
	c, err := net.Dial("tcp", at)
	if err != nil {
		return err
	}
	defer c.Close()
	b := []byte{1}
	if _, err = c.Write(b); err == nil {
		_, err = io.ReadFull(c, b)
	}
	return err
}

func netLatency(at []string) error {
	c, err := net.Dial("tcp", at[portEcho])
	if err != nil {
		return err
	}
	defer c.Close()
	b := []byte{1}
	n, began := 0, time.Now()
	for ; time.Since(began) < netTime; n++ {
		if _, err = c.Write(b); err == nil {
			_, err = io.ReadFull(c, b)
		}
		if err != nil {
			return err
		}
	}
	fmt.Printf("latency\t%.1f\tµs\n", float64(time.Since(began).Microseconds())/float64(n))
	return nil
}
