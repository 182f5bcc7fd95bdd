// The table of commands, and how one of them is found and run. It promises the exit statuses of
// docker, and that only the command that was asked for is set up.

package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/internal/errs"
)

// Exit statuses, those of docker: a promise to scripts.
const (
	exitFailure = 1   // a command failed
	exitUsage   = 125 // run, create, start, exec: tiffin itself failed, also by a wrong flag
	// 126: the command could not be executed. 127: it was not found.
	// 128+N: signal N ended it. Else run, start -a and exec exit as the command did.
)

// command is a line of the table of commands. make is called only for the command that runs, so
// that `tiffin run` does not pay for the flags of all others.
type command struct {
	name, short string
	make        func() *cli.Command
	like        kind
}

// kind says how a command's arguments and failures are treated.
type kind uint8

const (
	plain      kind = iota
	runLike         // the rest of the arguments belongs to another command; failures exit with 125
	statusLike      // failures exit with 125, flags anywhere
)

// group is a heading of the help text.
type group struct {
	title    string
	commands []command
}

var table = [...]group{
	{"Containers", []command{
		{"run", "make a container of an image and run a command in it", runCommand, runLike},
		{"here", "run a command in a container as yourself, in this directory", hereCommand, runLike},
		{"create", "make a container, to be started later", createCommand, runLike},
		{"start", "start containers", startCommand, plain},
		{"stop", "ask containers to end, then make them", stopCommand, plain},
		{"restart", "stop containers and start them again", restartCommand, plain},
		{"kill", "send a signal to containers", killCommand, plain},
		{"exec", "run a further command in a running container", execCommand, runLike},
		{"cp", "copy files into a container, or out of one", cpCommand, plain},
		{"attach", "connect the terminal to a running container", attachCommand, plain},
		{"port", "show where the ports of a container can be reached", portCommand, plain},
		{"logs", "show what a container has printed", logsCommand, plain},
		{"trace", "show the requests to a container's file system", traceCommand, plain},
		{"stats", "show what running containers use", statsCommand, plain},
		{"top", "list the processes of a container", topCommand, plain},
		{"pause", "stop all processes of containers", pauseCommand, plain},
		{"unpause", "let paused containers go on", unpauseCommand, plain},
		{"update", "change what containers may use", updateCommand, plain},
		{"wait", "wait for containers to end and print their exit status", waitCommand, plain},
		{"ps", "list containers", psCommand, plain},
		{"events", "tell what happens to containers, as it happens", eventsCommand, plain},
		{"rename", "give a container another name", renameCommand, plain},
		{"rm", "delete containers", rmCommand, plain},
		{"compose", "run several containers as a compose file says", composeCommand, runLike},
		{"play", "run pods, as a Kubernetes file says", playCommand, runLike},
		{"kube", "the same by podman's newer names: play, down, generate", kubeCommand, runLike},
		{"generate", "describe a container for systemd or Kubernetes", generateCommand, runLike},
	}},
	{"Networks and volumes", []command{
		{"network", "make, list and remove networks of containers", networkCommand, runLike},
		{"volume", "make, list and delete directories that outlive containers", volumeCommand, runLike},
	}},
	{"From container to image", []command{
		{"build", "make an image of a Dockerfile", buildCommand, plain},
		{"diff", "list what a container changed, or two images differ in", diffCommand, plain},
		{"export", "write a container's files into a tarball", exportCommand, plain},
		{"bundle", "make a directory that runc and crun run", bundleCommand, plain},
		{"commit", "make an image of a container's changes", commitCommand, plain},
		{"tag", "give an image a further name", tagCommand, plain},
	}},
	{"Images", []command{
		{"load", "bring in images from an archive or OCI layout", loadCommand, plain},
		{"import", "make an image of a root file system tarball", importCommand, plain},
		{"save", "write images into an archive", saveCommand, plain},
		{"images", "list images", imagesCommand, plain},
		{"history", "list the layers of an image and what made them", historyCommand, plain},
		{"layers", "show the stack of an image, and what its layers hide", layersCommand, plain},
		{"why", "tell which layer decides what is at a path", whyCommand, plain},
		{"picture", "draw an image, a container or a run as a page for a browser", pictureCommand, plain},
		{"inspect", "print all there is to know about images and containers", inspectCommand, plain},
		{"pull", "fetch an image from a registry", pullCommand, plain},
		{"manifest", "show what a registry has under a name", manifestCommand, plain},
		{"push", "send an image to a registry", pushCommand, plain},
		{"copy", "copy an image between registries, archives, layouts and the store", copyCommand, plain},
		{"serve", "show the images here to others, as a registry", serveCommand, plain},
		{"login", "store the password for a registry", loginCommand, plain},
		{"logout", "forget the password for a registry", logoutCommand, plain},
		{"rmi", "take a name off an image, and delete it if that was the last", rmiCommand, plain},
		{"prune", "delete images that have no name", pruneCommand, plain},
	}},
	{"By hand", []command{
		{"unshare", "run a command in new namespaces", unshareCommand, runLike},
		{"enter", "run a command in the namespaces of a process or container", enterCommand, runLike},
		{"explain", "write down by hand what run does, as a shell script", explainCommand, runLike},
	}},
	{"Around it", []command{
		{"book", "read how all of it works, chapter by chapter", bookCommand, plain},
		{"lab", "learn how containers work, in tasks that check themselves", labCommand, runLike},
		{"class", "take labs with a class", classCommand, runLike},
		{"doctor", "find out whether this machine can run containers", doctorCommand, plain},
		{"info", "tell about the store and this machine", infoCommand, plain},
		{"system", "show and free what the store takes", systemCommand, runLike},
		{"completion", "print what lets a shell complete commands and names", completionCommand, plain},
		{"version", "print the version", versionCommand, plain},
	}},
}

// Main runs the command that args, without the program's name, ask for, and
// returns the exit status.
func Main(args []string) int {
	if len(args) == 0 {
		return help()
	}
	args, err := shortForm(args)
	if len(args) == 0 {
		return report(err, exitUsage)
	}
	name, rest := args[0], args[1:]
	switch name {
	case "__complete":
		complete(rest)
		return 0
	case "help", "--help", "-h":
		if len(rest) == 0 || name != "help" {
			return help()
		}
		name, rest = rest[0], []string{"--help"}
	case "--version", "-v":
		name = "version"
	}
	c := find(name)
	if c == nil {
		return report(unknownCommand(name), exitFailure)
	}
	if name == "run" && len(rest) > 1 {
		_, _ = launch() // long before its flags are read, which takes as long as the supervisor
	}
	return c.run(rest)
}

// subcommand is the action of a command that has commands of its own, and prints its help text
// without one.
func subcommand(name string, make func() *cli.Command, table []command) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Len() == 0 {
			cmd := make()
			cmd.Name, cmd.Usage = name, c.App.Usage
			printCommandHelp(stdout, cmd)
			return nil
		}
		var names []string
		for _, sub := range table {
			if sub.name == c.Args().First() {
				sub.name = name + " " + sub.name
				return exitStatus(sub.run(c.Args().Tail()))
			}
			names = append(names, sub.name)
		}
		return usagef("there is no command %s %s: use %s", name, c.Args().First(), strings.Join(names, ", "))
	}
}

// help prints what commands there are.
func help() int {
	printHelp(stdout)
	return report(stdout.lost(), exitFailure)
}

func find(name string) *command {
	for _, g := range table {
		for i := range g.commands {
			if g.commands[i].name == name {
				return &g.commands[i]
			}
		}
	}
	return nil
}

// run parses the command's arguments and does what it does.
func (c *command) run(args []string) int {
	if c.name == "picture" && len(args) > 0 && args[0] == pictureTable[0].name {
		sub := pictureTable[0]
		sub.name = "picture run"
		return sub.run(args[1:])
	}
	cmd := c.make()
	cmd.Name, cmd.HideHelp = c.name, true
	if cmd.Usage == "" {
		cmd.Usage = c.short
	}
	cmd.Flags = append(cmd.Flags, &cli.BoolFlag{Name: "help", Usage: "show this text"})
	fallback := exitFailure
	if c.like != plain {
		fallback = exitUsage
	}
	if len(args) == 1 && args[0] == "-h" {
		args = []string{"--help"}
	}
	given := args
	args, err := normalise(args, cmd.Flags, c.like == runLike)
	if err == nil && c.name == "here" {
		args, err = withImageOfHere(given, args)
	}
	if err == nil {
		err = parseAndRun(cmd, args)
	}
	if err == nil {
		err = stdout.lost()
	}
	var usage *usageError
	if errors.As(err, &usage) && errs.HintOf(err) == "" {
		err = errs.Hint(err, fmt.Sprintf("`tiffin %s --help` shows how it is used", c.name))
	}
	return report(err, fallback)
}

// parseAndRun calls cmd's action. It goes through package cli's Command, not
// its App: that sets up every command there is.
func parseAndRun(cmd *cli.Command, args []string) error {
	cli.HelpFlag = nil // it would print a help text of its own
	app := &cli.App{
		Name: "tiffin", Usage: cmd.Usage, ArgsUsage: cmd.ArgsUsage, HideHelp: true, HideVersion: true, Writer: stdout, ErrWriter: io.Discard,
		ExitErrHandler:            func(*cli.Context, error) {},
		Flags:                     withoutAliases(cmd.Flags),
		Metadata:                  map[string]any{"args": args},
		DisableSliceFlagSeparator: true, // a comma is part of a value
		OnUsageError: func(_ *cli.Context, err error, _ bool) error { // --explain=WORD is a boolean to package flag alone
			return usagef("%s", strings.Replace(err.Error(), "invalid boolean value", "invalid value", 1))
		},
		Action: func(c *cli.Context) error {
			if c.Bool("help") {
				printCommandHelp(stdout, cmd)
				return nil
			}
			return cmd.Action(c)
		},
	}
	return app.Run(append([]string{"tiffin"}, args...))
}

// exitStatus is the error that a command returns to end with a status without
// a message: the message is the container's.
type exitStatus int

func (e exitStatus) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// report prints an error and returns the exit status it stands for.
func report(err error, fallback int) int {
	if err == nil {
		return 0
	}
	var status exitStatus
	if errors.As(err, &status) {
		return int(status)
	}
	printError(stderr, err)
	return errs.CodeOf(err, fallback)
}

// printError prints err and its advice: what was tried and failed, line by line.
func printError(w io.Writer, err error) {
	// An error may quote an image or a registry, and what they say must not act on the terminal.
	for line := range strings.SplitSeq(err.Error(), "\n") {
		fmt.Fprintf(w, "tiffin: %s\n", printable(line))
	}
	if hint := errs.HintOf(err); hint != "" {
		lines := strings.Split(hint, "\n")
		for i := range lines {
			lines[i] = printable(lines[i])
		}
		fmt.Fprintf(w, "hint: %s\n", strings.Join(lines, "\n      "))
	}
}

// eachArg calls f for every argument, prints the errors as they come, and
// fails if there was one: `rm a b c` removes a and c if b cannot be.
func eachArg(c *cli.Context, f func(arg string) error) error {
	failed := error(nil)
	for _, arg := range c.Args().Slice() {
		if err := f(arg); err != nil {
			printError(stderr, err)
			failed = exitStatus(exitFailure)
		}
	}
	return failed
}

// takes lets an action have as many arguments as wantArgs allows.
func takes(min, max int, what string, action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if err := wantArgs(c, min, max, what); err != nil {
			return err
		}
		return action(c)
	}
}

// wantArgs checks the number of arguments; max < 0 is no limit.
func wantArgs(c *cli.Context, min, max int, what string) error {
	n := c.Args().Len()
	if n >= min && (max < 0 || n <= max) {
		return nil
	}
	return usagef("expected %s, got %s", what, count(n, "argument"))
}

// count is a number of things in words: 1 byte, 2 bytes.
func count[N int | int64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
