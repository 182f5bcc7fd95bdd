// An idle supervisor gives memory back.

package supervisor

import (
	"fmt"
	"maps"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// settlePeriod is how long the file system must have had no request before the
// supervisor gives memory back.
const settlePeriod = 5 * time.Second

// settle keeps the supervisor small while its container is idle. Most of what
// it has resident was needed only once: its own program text, the checked pages of
// the index, the buffers of the last burst of writes. Without these, an idle
// container costs about 5 MB, instead of 17 (debian, 25,000 files) or, after it has
// written 200 MB, 50.
func (s *supervisor) settle() {
	time.Sleep(settlePeriod / 10)
	debug.SetGCPercent(25)
	if s.fs == nil {
		debug.FreeOSMemory()
		return
	}
	for last := s.fs.Counts(); ; {
		time.Sleep(settlePeriod)
		next, now := s.fs.NextRequest(), s.fs.Counts()
		if !maps.Equal(last, now) {
			last = now
			continue
		}
		s.fs.Trim()
		debug.FreeOSMemory()
		dropFilePages()
		<-next // an idle container wakes nobody up
	}
}

// dropFilePages takes the pages of mapped files out of this process's memory.
// They stay in the page cache; touching one again costs a minor fault, for
// sixteen pages at a time. madvise(2), MADV_DONTNEED: a page that was never
// written to is read from its file again. One that was would be lost, such as
// the relocated tables of a dynamic executable, which are read-only by now, so
// mappings with any ("Anonymous" in /proc/pid/smaps, proc(5)) are left alone.
func dropFilePages() {
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	var from, to uintptr
	file := false
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		switch {
		case len(f) >= 5 && len(f[1]) == 4: // "address perms offset dev inode pathname"
			file = len(f) == 6 && f[5][0] == '/' && f[1][1] == '-'
			if n, _ := fmt.Sscanf(f[0], "%x-%x", &from, &to); n != 2 {
				file = false
			}
		case file && f[0] == "Anonymous:" && f[1] == "0":
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, from, to-from, unix.MADV_DONTNEED)
		}
	}
}
