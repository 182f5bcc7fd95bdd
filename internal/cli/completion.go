// The command tiffin completion, a few lines for a shell, and __complete, which those lines ask
// what may stand at the cursor: the table of commands, their flags, and the names of what is there.

package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/internal/container/disk"
	"tiffin/internal/network"
	"tiffin/tutorial"
	"tiffin/tutorial/gradebook"
)

// shells have the function for each shell: bash(1), "Programmable Completion"; "Completion
// System" in the manual of zsh; complete in that of fish.
var shells = map[string]string{
	"bash": `_tiffin() {
	local cur=${COMP_WORDS[COMP_CWORD]} line=${COMP_LINE:0:COMP_POINT} IFS=$'\n'
	local -a words
	# COMP_WORDS has name:tag as three words
	IFS=' ' read -ra words <<<"$line"
	[[ $line == *' ' ]] && words+=('')
	COMPREPLY=($(tiffin __complete "${words[@]:1}" 2>/dev/null))
	local whole=${words[-1]}
	[[ $whole == *:* && $COMP_WORDBREAKS == *:* ]] && COMPREPLY=("${COMPREPLY[@]#"${whole%"${whole##*:}"}"}")
}
complete -o default -F _tiffin tiffin
`,
	"zsh": `#compdef tiffin
_tiffin() {
	local -a found
	found=("${(@f)$(tiffin __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
	[[ -n $found ]] && compadd -a found || _files
}
compdef _tiffin tiffin
`,
	"fish": `complete -c tiffin -a '(tiffin __complete (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
}

func completionCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "bash|zsh|fish",
		Description: "Prints what lets the Tab key complete commands, flags and names. For bash, in ~/.bashrc:\n" +
			"  source <(tiffin completion bash)\n" +
			"For zsh the same with its name, in ~/.zshrc after compinit; for fish: tiffin completion fish | source",
		Action: takes(1, 1, "bash, zsh or fish", func(c *cli.Context) error {
			text, ok := shells[c.Args().First()]
			if !ok {
				return usagef("there is nothing for %s: use bash, zsh or fish", c.Args().First())
			}
			_, err := fmt.Fprint(stdout, text)
			return err
		}),
	}
}

// complete prints what the last of the words, which is not finished, may become.
func complete(words []string) {
	if len(words) == 0 {
		return
	}
	last := words[len(words)-1]
	for _, w := range candidates(words[:len(words)-1], last) {
		if strings.HasPrefix(w, last) {
			fmt.Fprintln(stdout, w)
		}
	}
}

// candidates are what may follow the words before; last is how the next one begins.
func candidates(before []string, last string) []string {
	commands := make([]command, 0, len(table))
	for _, g := range table {
		commands = append(commands, g.commands...)
	}
	if len(before) == 0 {
		return append(commandNames(commands), "container", "image", "builder", "help")
	}
	if forms := longForms[before[0]]; forms != nil {
		if len(before) == 1 {
			return slices.Sorted(maps.Keys(forms))
		}
		before, _ = shortForm(before)
	}
	if before == nil {
		return nil
	}
	at := slices.IndexFunc(commands, func(c command) bool { return c.name == before[0] })
	if at < 0 {
		return nil
	}
	cmd := commands[at]
	if below := belowOf(cmd.name); below != nil {
		if len(before) == 1 && (cmd.like == runLike || !strings.HasPrefix(last, "-")) {
			return append(commandNames(below), argumentsOf(cmd.name)...)
		}
		at := slices.IndexFunc(below, func(c command) bool { return len(before) > 1 && c.name == before[1] })
		if at >= 0 {
			below[at].name = cmd.name + " " + below[at].name
			cmd, before = below[at], before[1:]
		} else if cmd.like == runLike {
			return nil
		}
	}
	flags := cmd.make().Flags
	if strings.HasPrefix(last, "-") {
		return flagsOf(flags)
	}
	if previous := before[len(before)-1]; len(before) > 1 && strings.HasPrefix(previous, "-") {
		if f := findFlag(flags, strings.TrimLeft(previous, "-")); f != nil && takesValue(f) {
			return valuesOf(cmd.name + " " + f.Names()[0])
		}
	}
	if cmd.like == runLike && hasArgument(before[1:], flags) {
		return nil // what follows is another command's
	}
	return argumentsOf(cmd.name)
}

// listNames are the names of things.
func listNames[T any](things []T, name func(T) string) (names []string) {
	for _, t := range things {
		names = append(names, name(t))
	}
	return names
}

func commandNames(commands []command) []string {
	return listNames(commands, func(c command) string { return c.name })
}

// belowOf are the commands below a command, or none.
func belowOf(name string) []command {
	switch name {
	case "network":
		return slices.Clone(networkTable[:])
	case "volume":
		return slices.Clone(volumeTable[:])
	case "system":
		return slices.Clone(systemTable)
	case "lab":
		return slices.Clone(labTable[:])
	case "class":
		return slices.Clone(classTable[:])
	case "generate":
		return slices.Clone(generateTable[:])
	case "play":
		return slices.Clone(playTable[:])
	case "kube":
		return slices.Clone(kubeTable[:])
	case "picture":
		return slices.Clone(pictureTable[:])
	case "compose":
		return (&composition{}).table()
	}
	return nil
}

func flagsOf(flags []cli.Flag) []string {
	names := []string{"--help"}
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() {
			continue
		}
		for _, n := range f.Names() {
			names = append(names, "-"+n)
			if len(n) > 1 {
				names[len(names)-1] = "--" + n
			}
		}
	}
	return names
}

// hasArgument tells whether there is a word that is neither a flag nor its value.
func hasArgument(words []string, flags []cli.Flag) bool {
	for i := 0; i < len(words); i++ {
		if !strings.HasPrefix(words[i], "-") {
			return true
		}
		if _, next, err := splitFlag(words[i], flags); err == nil && next {
			i++
		}
	}
	return false
}

// valuesOf are the values of some flags, each with its command before it.
func valuesOf(flag string) []string {
	if flag == "class report format" {
		return gradebook.Formats(true)
	}
	switch flag[strings.LastIndex(flag, " ")+1:] {
	case "lang":
		return labLanguages()
	case "network":
		return append([]string{"user", "none", "host", "pasta", "slirp4netns"}, networkNames()...)
	case "volumes-from":
		return containerNames()
	case "driver":
		return disk.Drivers
	case "restart":
		return []string{"no", "on-failure", "unless-stopped", "always"}
	case "pull":
		return []string{pullAlways, pullMissing, pullNever}
	}
	return nil
}

// argumentsOf are the names that a command takes. Names of files the shell knows better.
func argumentsOf(command string) []string {
	switch command {
	case "start", "stop", "restart", "kill", "exec", "cp", "attach", "port", "logs", "trace", "stats", "top", "pause", "unpause",
		"update", "wait", "rename", "rm", "export", "commit", "enter", "generate systemd", "generate kube", "kube generate":
		return containerNames()
	case "run", "here", "create", "tag", "save", "images", "history", "layers", "push", "rmi", "explain", "picture run":
		return imageNames()
	case "inspect", "why", "picture", "bundle", "diff":
		return append(containerNames(), imageNames()...)
	case "network inspect", "network rm", "network connect", "network disconnect":
		return append(networkNames(), containerNames()...)
	case "volume inspect", "volume rm":
		return volumeNames()
	case "lab start", "lab show", "lab check", "lab hint", "lab reset", "lab clean", "lab solution", "lab submit", "lab test":
		labs, _ := readLabs("")
		return listNames(labs, func(l *tutorial.Lab) string { return l.Name })
	case "completion":
		return slices.Sorted(maps.Keys(shells))
	}
	return nil
}

// What is there by name. An error has no place to be shown in while somebody types.

func containerNames() []string {
	set, err := containers()
	if err != nil {
		return nil
	}
	all, _ := set.All()
	return listNames(all, func(c *disk.Container) string { return c.Name })
}

func labLanguages() (languages []string) {
	labs, _ := readLabs("")
	for _, l := range labs {
		languages = append(languages, l.Original().Languages()...)
	}
	slices.Sort(languages)
	return slices.Compact(languages)
}

func imageNames() (names []string) {
	store, err := openStore()
	if err != nil {
		return nil
	}
	all, _ := store.List()
	for _, img := range all {
		names = append(names, img.Names...)
	}
	return names
}

func networkNames() []string {
	set, err := containers()
	if err != nil {
		return nil
	}
	all, _ := set.Networks()
	return listNames(all, func(d *network.Definition) string { return d.Name })
}

func volumeNames() []string {
	set, err := containers()
	if err != nil {
		return nil
	}
	all, _ := set.Volumes()
	return listNames(all, func(v *disk.StoredVolume) string { return v.Name })
}
