// The messages: all operations and answers.

package control

import (
	"os"

	"tiffin/internal/container/disk"
	"tiffin/internal/treecopy"
	"tiffin/internal/wire"
	"tiffin/ns"
)

// Message is one line of the protocol, in either direction. Which fields mean
// something depends on Op; see the package comment.
type Message struct {
	Op string `json:"op"`
	// NumFiles is how many descriptors travel with the line, SCM_RIGHTS in unix(7). Send sets it.
	NumFiles int `json:"files,omitempty"`
	Signal   int `json:"signal,omitempty"`
	// Seconds is how long "stop" waits before it kills; negative: for ever.
	Seconds int `json:"seconds,omitempty"`

	Start *Start       `json:"start,omitempty"`
	Exec  *Exec        `json:"exec,omitempty"`
	Trace *TraceFilter `json:"trace,omitempty"`
	Shell *Shell       `json:"shell,omitempty"`
	Copy  *Copy        `json:"copy,omitempty"`
	Upper *disk.Upper  `json:"upper,omitempty"`
	PID   int          `json:"pid,omitempty"` // of the process whose root a helper works in, or that has the files which are lent
	// Networks are those that the container joins, or leaves by their names.
	Networks []disk.Attachment `json:"networks,omitempty"`
	// Names are the texts of small files that a helper replaces, and of those it finds.
	Names []Rewrite `json:"names,omitempty"`

	Error *wire.Error `json:"error,omitempty"`
	// Corrupt says that the Error is a damaged index of the image: the client can make the index
	// anew and ask again.
	Corrupt bool              `json:"corrupt,omitempty"`
	Exit    int               `json:"exit,omitempty"`
	Counts  map[string]uint64 `json:"counts,omitempty"`
	Info    *TraceInfo        `json:"info,omitempty"`
	Event   *TraceEvent       `json:"event,omitempty"`
	Copied  *Copied           `json:"copied,omitempty"`
	Plan    *ns.Spec          `json:"plan,omitempty"`
	Report  *ns.Report        `json:"report,omitempty"`
	// Unpacked and Unpacking are bytes: of the files that are there, and of all.
	Unpacked  int64 `json:"unpacked,omitempty"`
	Unpacking int64 `json:"unpacking,omitempty"`

	Files []*os.File `json:"-"`
}

// Attached implements wire.Message.
func (m *Message) Attached() (*int, *[]*os.File) { return &m.NumFiles, &m.Files }

// Close closes the files that came with the message.
func (m *Message) Close() {
	for _, f := range m.Files {
		f.Close()
	}
}

// Operations: what a client asks.
const (
	OpStart   = "start"  // only on the socket that the supervisor inherits; 1 file: the lock, or 3: and as attach; then one each for Trace, Shares, Network and each of Joined
	OpAttach  = "attach" // 2 files: where standard output and error go
	OpExec    = "exec"   // 2 files, as attach
	OpSignal  = "signal" // to the command that this connection started or attached to
	OpDetach  = "detach" // leave; the command goes on
	OpStop    = "stop"
	OpWait    = "wait"
	OpFreeze  = "freeze" // until the connection ends
	OpPause   = "pause"  // until OpUnpause
	OpUnpause = "unpause"
	OpLock    = "lock" // the answer has 1 file: the container's lock, for a keeper
	OpCounts  = "counts"
	OpTrace   = "trace"
	// One of Networks; 2 files: the connection to it, and the network program.
	OpConnect    = "connect"
	OpDisconnect = "disconnect"
	OpCopy       = "copy"  // with 1 file for a tarball, to or from the container; or 2, a directory to unpack to is the second
	OpNext       = "next"  // the report was read: go on with the next step
	OpShell      = "shell" // before that: 2 files, the terminal for a shell and its program; the answer comes when it has ended
	OpQuit       = "quit"  // instead: do not go on
	// To a helper, besides OpCopy. OpDiff and OpPack: 1 file, where the output goes.
	OpNames = "names" // replace the text of files
	OpSync  = "sync"  // have the kernel write out what it keeps of the container's files
	OpDiff  = "diff"  // the changes, as JSON
	OpPack  = "pack"  // the changes, as a layer
	OpUsage = "usage" // how many bytes of the disk the directory of Upper takes
	OpErase = "erase" // the directory of Upper, and all that is in it: how many bytes that were
)

// Answers.
const (
	AnsOK        = "ok"        // perhaps with 1 file: where standard input goes
	AnsExit      = "exit"      // the command has ended, perhaps with an Error about its output; nothing follows
	AnsError     = "error"     // nothing follows
	AnsEvent     = "event"     // of a trace; more follow
	AnsUnpacking = "unpacking" // before all others of a start that unpacks the image: how far that is
	// Before "ok", of a start that is to be explained:
	AnsPlan   = "plan"   // what is going to be built
	AnsReport = "report" // a step was done, or skipped; the next one waits for OpNext
)

// Start is what the client tells the supervisor to begin with.
type Start struct {
	Dir        string   `json:"dir"`               // of the container
	Union      string   `json:"union"`             // merged index of the image
	Flats      []string `json:"flats"`             // its layers, the bottom one first
	Blocks     []string `json:"blocks"`            // what they are checked by, likewise
	Indexes    []string `json:"indexes,omitempty"` // of the layers, likewise: for a trace
	Starts     string   `json:"starts,omitempty"`  // file for what commands read at first: a hint
	Foreground bool     `json:"foreground,omitempty"`
	Tied       bool     `json:"tied,omitempty"` // the container does not outlive its client
	Rows       uint16   `json:"rows,omitempty"` // of the client's terminal
	Cols       uint16   `json:"cols,omitempty"`
	// Env are further variables of the command, VAR=VALUE: secrets, which no file has.
	Env wire.Strings `json:"env,omitempty"`
	// Notes are what the client could not do for the user namespace.
	Notes []ns.Note `json:"notes,omitempty"`
	// Cgroup is where the container's control group is to be made, "" = it has none.
	Cgroup string `json:"cgroup,omitempty"`
	// Bounds are further limits of each process.
	Bounds ns.Bounds `json:"bounds,omitzero"`
	// Trace asks for a trace from the first request on, and that the kernel ask
	// about everything.
	Trace *TraceFilter `json:"trace,omitempty"`
	// Explain asks for a plan and for reports before the answer.
	Explain bool `json:"explain,omitempty"`
	// Network says that the last file is the network program. Without it the container has only
	// loopback, or the host's network.
	Network bool `json:"network,omitempty"`
	// Joined are networks with a name, to each of which a connection comes along.
	Joined []disk.Attachment `json:"joined,omitempty"`
	// Idle asks for the container's files alone: no command runs, and nothing is recorded. The
	// connection then takes requests of OpCopy, until it ends.
	Idle bool `json:"idle,omitempty"`
	// Shares is the directory of the container whose network this one shares. A pidfd of its first
	// process comes along.
	Shares string `json:"shares,omitempty"`
}

// Exec describes a further command in a running container.
type Exec struct {
	Args    wire.Strings `json:"args"`
	Env     wire.Strings `json:"env,omitempty"`
	Dir     string       `json:"dir,omitempty"`  // "" = the container's
	User    string       `json:"user,omitempty"` // "" = the container's
	TTY     bool         `json:"tty,omitempty"`
	Stdin   bool         `json:"stdin,omitempty"`
	Detach  bool         `json:"detach,omitempty"`
	Rows    uint16       `json:"rows,omitempty"`
	Cols    uint16       `json:"cols,omitempty"`
	Explain bool         `json:"explain,omitempty"` // asks for a plan and for reports, as in Start
}

// Shell is what the client tells the supervisor of a shell between two steps.
type Shell struct {
	Done int          `json:"done"` // number of the step after which it is
	Env  wire.Strings `json:"env"`
	Args wire.Strings `json:"args,omitempty"` // of the shell; none: it reads from the terminal
}

// Rewrite is a new text for a file that still has the old one.
type Rewrite struct {
	Path     string `json:"path"`
	Old, New string
}

// Copy asks for a call of one method of treecopy.Tree.
type Copy struct {
	Op     string `json:"op"` // CopyStat …
	Path   string `json:"path"`
	Name   string `json:"name,omitempty"`
	Follow bool   `json:"follow,omitempty"`
	Owners bool   `json:"owners,omitempty"`

	// Remembered is set by the supervisor: stat(2) does not say who owns a file.
	Remembered bool `json:"remembered,omitempty"`
}

// The methods. Pack writes a tarball to the file that comes along, Unpack reads it from there.
const (
	CopyStat   = "stat"
	CopyPack   = "pack"
	CopyUnpack = "unpack"
)

// Copied is the result of a Copy.
type Copied struct {
	Info  treecopy.Info `json:"info"`
	Bytes int64         `json:"bytes,omitempty"`
}
