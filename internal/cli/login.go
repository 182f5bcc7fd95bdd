// The command tiffin login: a password is tried and then kept where docker keeps it. It is never
// an argument, and not shown while it is typed.

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"tiffin/image/registry"
	"tiffin/internal/errs"
)

func loginCommand() *cli.Command {
	return &cli.Command{
		ArgsUsage: "[FLAGS] [REGISTRY]",
		Description: "Tries the password and keeps it where docker does: with a credential helper, or in $REGISTRY_AUTH_FILE, or in\n" +
			"config.json of $DOCKER_CONFIG or ~/.docker. Without REGISTRY it is for Docker Hub.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "username", Aliases: []string{"u"}, Usage: "`NAME` to log in with"},
			&cli.StringFlag{Name: "password", Aliases: []string{"p"}, Usage: "`PASSWORD`; others on this machine can see it while the command runs"},
			&cli.BoolFlag{Name: "password-stdin", Usage: "read the password from the standard input"},
			tlsFlag(),
		},
		Action: takes(0, 1, "at most one registry", runLogin),
	}
}

func runLogin(c *cli.Context) error {
	domain, err := registry.Domain(c.Args().First())
	if err != nil {
		return err
	}
	client, err := registryClient(c)
	if err != nil {
		return err
	}
	user, err := userName(c, registry.StoredUser(c.Context, domain))
	if err != nil {
		return err
	}
	password, err := readPassword(c)
	if err != nil {
		return err
	}
	ctx, end := interruptible(c)
	defer end()
	file, err := client.Login(ctx, domain, user, password)
	if err != nil {
		return err
	}
	if file != "" {
		fmt.Fprintf(stderr, "The password is kept unencrypted in %s; a credential helper would do better.\n", file)
	}
	fmt.Fprintln(stdout, "Login Succeeded")
	return nil
}

var errNoPrompt = errors.New("the standard input is no terminal to ask at")

// userName is the argument of -u, or what is typed; before is the name from last time.
func userName(c *cli.Context, before string) (string, error) {
	if u := c.String("username"); u != "" {
		return u, nil
	}
	if c.Bool("password-stdin") || c.IsSet("password") || !isTerminal(os.Stdin) {
		return "", errs.Hint(fmt.Errorf("no user name: %w", errNoPrompt), "give it with -u NAME")
	}
	prompt := "Username: "
	if before != "" {
		prompt = fmt.Sprintf("Username (%s): ", before)
	}
	fmt.Fprint(stderr, prompt)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if line = strings.TrimSpace(line); line == "" {
		line = before
	}
	if line == "" {
		return "", errors.Join(errors.New("no user name"), err)
	}
	return line, nil
}

// maxPassword bounds what --password-stdin reads, in bytes: tokens are long.
const maxPassword = 64 << 10

func readPassword(c *cli.Context) (string, error) {
	switch {
	case c.IsSet("password") && c.Bool("password-stdin"):
		return "", usagef("--password and --password-stdin do not go together")
	case c.IsSet("password"):
		fmt.Fprintln(stderr, "tiffin: warning: a password among the arguments is seen by everybody on this machine; use --password-stdin")
		return c.String("password"), nil
	case c.Bool("password-stdin"):
		b, err := io.ReadAll(io.LimitReader(os.Stdin, maxPassword))
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
		// A line end belongs to the file or to echo, not to the password.
		p := strings.TrimSuffix(strings.TrimSuffix(string(b), "\n"), "\r")
		if p == "" {
			return "", errors.New("the password on the standard input is empty")
		}
		return p, nil
	case !isTerminal(os.Stdin):
		return "", errs.Hint(fmt.Errorf("no password: %w", errNoPrompt), "write it to the standard input and use --password-stdin")
	}
	return promptPassword()
}

// promptPassword asks at the terminal, which does not show what is typed, also
// not what is typed after this command was interrupted.
func promptPassword() (string, error) {
	fd := int(os.Stdin.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	sigs := make(chan os.Signal, 1)
	signal.Notify(sigs, unix.SIGINT, unix.SIGTERM, unix.SIGHUP)
	defer signal.Stop(sigs)
	go func() {
		sig := (<-sigs).(unix.Signal)
		_ = term.Restore(fd, before)
		fmt.Fprintln(stderr)
		os.Exit(128 + int(sig))
	}()
	fmt.Fprint(stderr, "Password: ")
	b, err := term.ReadPassword(fd)
	fmt.Fprintln(stderr)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	if len(b) == 0 {
		return "", errors.New("no password")
	}
	return string(b), nil
}
