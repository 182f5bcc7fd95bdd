// The flags about a container's healthcheck, and how they change the image's: docker-run(1).

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"tiffin/image"
	"tiffin/internal/container/disk"
	"tiffin/internal/errs"
)

// healthFlags are those of run and create.
func healthFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "health-cmd", Usage: "ask with `COMMAND`, a line for a shell in the container or words as JSON, whether it works; `tiffin ps` shows what it says"},
		&cli.DurationFlag{Name: "health-interval", Usage: "`TIME` between two of these checks, such as 1m30s; 30s if not given"},
		&cli.DurationFlag{Name: "health-timeout", Usage: "`TIME` that one may take; 30s if not given"},
		&cli.DurationFlag{Name: "health-start-period", Usage: "`TIME` in which failures do not count at first"},
		&cli.DurationFlag{Name: "health-start-interval", Usage: "`TIME` between two checks in the start period; 5s if not given"},
		&cli.IntFlag{Name: "health-retries", Usage: "`NUMBER` of failures, one after the other, that make it unhealthy; 3 if not given"},
		&cli.BoolFlag{Name: "no-healthcheck", Usage: "do not ask, whatever the image says"},
	}
}

// setHealth merges the image's healthcheck and the flags.
func setHealth(cfg *disk.Config, c *cli.Context, store *image.Store, img *image.Image) error {
	asked := c.IsSet("health-cmd")
	for _, name := range []string{"interval", "timeout", "start-period", "start-interval", "retries"} {
		asked = asked || c.IsSet("health-"+name)
	}
	if c.Bool("no-healthcheck") {
		if asked {
			return errors.New("--no-healthcheck and other --health flags contradict each other")
		}
		return nil
	}
	raw, err := store.RawConfig(img)
	if err != nil {
		return err
	}
	var of struct { // what OCI's image specification does not have, and docker's has
		Config struct {
			Healthcheck *disk.Healthcheck
			Shell       []string
		} `json:"config"`
	}
	if err := json.Unmarshal(raw, &of); err != nil {
		return fmt.Errorf("read the healthcheck of image %s: %w", cfg.Image, err)
	}
	h := of.Config.Healthcheck
	if h == nil {
		h = new(disk.Healthcheck)
	}
	if c.IsSet("health-cmd") {
		line := c.String("health-cmd")
		h.Test = []string{"CMD-SHELL", line}
		var words []string
		if json.Unmarshal([]byte(line), &words) == nil && len(words) > 0 { // podman-run(1), "--health-cmd"
			h.Test = append([]string{"CMD"}, words...)
		}
	}
	for _, f := range []struct {
		name string
		to   *time.Duration
	}{{"health-interval", &h.Interval}, {"health-timeout", &h.Timeout}, {"health-start-period", &h.StartPeriod}, {"health-start-interval", &h.StartInterval}} {
		if c.IsSet(f.name) {
			*f.to = c.Duration(f.name)
		}
		if *f.to < 0 || *f.to > 0 && *f.to < time.Millisecond {
			if !c.IsSet(f.name) {
				err := fmt.Errorf("the healthcheck of image %s has %v, which is less than 1ms, for its %s", cfg.Image, *f.to, strings.TrimPrefix(f.name, "health-"))
				return errs.Hint(err, "--"+f.name+" gives another, --no-healthcheck none")
			}
			return fmt.Errorf("--%s %v is less than 1ms", f.name, *f.to)
		}
	}
	if c.IsSet("health-retries") {
		h.Retries = c.Int("health-retries")
	}
	if h.Retries < 0 {
		return fmt.Errorf("--health-retries %d is less than 0", h.Retries)
	}
	none := len(h.Test) < 2 || h.Test[0] != "CMD" && h.Test[0] != "CMD-SHELL" || h.Test[1] == ""
	switch {
	case none && asked:
		return errs.Hint(fmt.Errorf("image %s has no healthcheck that the --health flags could change", cfg.Image), "give a command with --health-cmd")
	case !none:
		cfg.Healthcheck, cfg.Shell = h, of.Config.Shell
	}
	return nil
}
