// The command tiffin generate: descriptions of a container for programs that start it. A unit of
// systemd, so that a container comes up with the machine, is made here.

package cli

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"tiffin/image/store"
	"tiffin/internal/container/disk"
)

var generateTable = [...]command{
	{"systemd", "print a unit that starts a container with the machine", generateSystemdCommand, plain},
	{"kube", "print containers as a pod of Kubernetes", generateKubeCommand, plain},
}

func generateCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage:   "COMMAND [ARGUMENTS]",
		Description: "What another program has to know to start a container of yours.\n\n" + listCommands(generateTable[:]) + "\n`tiffin generate COMMAND --help` shows the flags of a command.",
		Action:      subcommand("generate", generateCommand, generateTable[:]),
	}
}

func generateSystemdCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] CONTAINER",
		Description: "Try it: tiffin generate systemd web > ~/.config/systemd/user/web.service\n" +
			"        systemctl --user daemon-reload; systemctl --user enable --now web\n" +
			"        loginctl enable-linger    # it comes up with the machine, not with you\n" +
			"A container with --restart is started again by tiffin as ever; another one by systemd, as --restart-policy says.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "restart-policy", Value: "on-failure", Usage: "Restart= of the unit: `no`, on-failure, always, …: systemd.service(5)"},
			&cli.BoolFlag{Name: "files", Aliases: []string{"f"}, Usage: "write it to container-NAME.service here, and print that name"},
			&cli.BoolFlag{Name: "name", Aliases: []string{"n"}, Usage: "for podman's sake: the container goes by its name", Hidden: true},
		},
		Action: takes(1, 1, "one container", func(c *cli.Context) error {
			ctr, err := findContainer(c.Args().First())
			if err != nil {
				return err
			}
			unit, err := systemdUnit(ctr, c.String("restart-policy"))
			if err != nil {
				return err
			}
			if !c.Bool("files") {
				_, err := io.WriteString(stdout, unit)
				return err
			}
			name := "container-" + ctr.Name + ".service"
			err = writeFile("generate", name, func(w io.Writer) error {
				_, err := io.WriteString(w, unit)
				return err
			})
			if err == nil {
				fmt.Fprintln(stdout, name)
			}
			return err
		}),
	}
}

// systemdUnit is a unit of a container: systemd.service(5), systemd.unit(5). One that tiffin
// restarts is started once and then left to its keeper; the processes are the unit's all the same.
func systemdUnit(ctr *disk.Container, restart string) (string, error) {
	switch restart {
	case "no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always":
	default:
		return "", usagef("--restart-policy %q is none of systemd's: no, on-failure, always, …", restart)
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("generate: %w", err)
	}
	root, err := store.DefaultRoot()
	if err != nil {
		return "", err
	}
	signal, err := disk.ParseSignal(cmp.Or(ctr.StopSignal, "TERM"))
	if err != nil {
		return "", err
	}
	patience := 10
	if ctr.StopTimeout != nil {
		patience = *ctr.StopTimeout
	}
	name := commandWord(ctr.Name)
	how := []string{"Type=exec", "ExecStart=" + commandWord(self) + " start --attach " + name, "Restart=" + restart,
		// Its status after a stop: systemd is not to take it for a failure.
		fmt.Sprintf("SuccessExitStatus=%d", 128+int(signal))}
	if ctr.Restart.Policy != "" {
		how = []string{"Type=oneshot", "RemainAfterExit=yes", "ExecStart=" + commandWord(self) + " start " + name}
	}
	lines := append([]string{
		"[Unit]", "Description=container " + strings.ReplaceAll(ctr.Name, "%", "%%"),
		"RequiresMountsFor=" + unitWord(root), "",
		"[Service]", "Environment=" + unitWord("TIFFIN_ROOT="+root),
	}, how...)
	for _, name := range []string{"TIFFIN_RUN_ROOT", "TIFFIN_IMAGE_PATH"} {
		if v := os.Getenv(name); v != "" {
			lines = append(lines, "Environment="+unitWord(name+"="+v))
		}
	}
	lines = append(lines, "ExecStop="+commandWord(self)+" stop "+name,
		// What stop waits, and time to write everything down.
		fmt.Sprintf("TimeoutStopSec=%d", patience+60), "",
		"[Install]", "WantedBy=default.target")
	return strings.Join(lines, "\n") + "\n", nil
}

// unitWord is s as one word of a unit: systemd.syntax(7), "QUOTING"; systemd.unit(5), "SPECIFIERS".
func unitWord(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`, "%", "%%").Replace(s) + `"`
}

// commandWord is unitWord where variables are replaced: systemd.service(5), "COMMAND LINES".
func commandWord(s string) string { return strings.ReplaceAll(unitWord(s), "$", "$$") }
