// The modules of a program, and the licences that lie beside their source in Go's module cache.

package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// standard is the name of the standard library among the modules.
const standard = "std"

// module is one that is linked, and what its licences say.
type module struct {
	path, version string
	sum           string   // as in go.sum; "" for the standard library
	ids           []string // of the licences that were recognised, SPDX, sorted
	files         []string // with their texts: those of the module, and of the packages that are linked
}

// accompanying are the names of files that come along with what is linked. Of these, grant are
// licences; the others add to them.
var (
	accompanying = regexp.MustCompile(`(?i)^((un)?licen[cs]es?|copying|notice|patents|copyright)([.-][a-z0-9-]*)?$`)
	grant        = regexp.MustCompile(`(?i)^((un)?licen|copying|copyright)`)
)

// addModules adds the modules of p, with the licences of the packages that are linked.
func (p *program) addModules(modules map[string]*module) error {
	linked := map[string]bool{} // without those of which go list knows a package
	for _, d := range p.info.Deps {
		if d.Replace != nil {
			return fmt.Errorf("the module %s is replaced by %s", d.Path, d.Replace.Path)
		}
		name := d.Path + "@" + d.Version
		if modules[name] == nil {
			modules[name] = &module{path: d.Path, version: d.Version, sum: d.Sum}
		}
		linked[name] = true
	}
	packages, err := p.packages()
	if err != nil {
		return err
	}
	for _, k := range packages {
		m := modules[k.module]
		if m == nil {
			return fmt.Errorf("%s is linked, says go list, but the program does not name its module", k.dir)
		}
		delete(linked, k.module)
		if err := m.addLicences(k.dir, k.top); err != nil {
			return fmt.Errorf("%s %s: %w", m.path, m.version, err)
		}
	}
	for name := range linked {
		return fmt.Errorf("no package of %s is linked, says go list", name)
	}
	return nil
}

// linkedPackage is a package of another module.
type linkedPackage struct{ module, top, dir string } // PATH@VERSION, the module's directory, the package's

// packages asks go list for what is linked into p.
func (p *program) packages() (list []linkedPackage, err error) {
	// A module of ours, tiffin/NAME, is in internal/NAME.
	dir := filepath.Join("internal", strings.TrimPrefix(p.info.Main.Path, "tiffin"))
	if p.info.Main.Path == "tiffin" {
		dir = "."
	}
	cmd := exec.Command("go", "list", "-C", dir, "-deps", "-tags", p.setting("-tags"),
		"-f", "{{with .Module}}{{if not .Main}}{{.Path}}@{{.Version}}\t{{.Dir}}\t{{$.Dir}}{{end}}{{end}}", p.info.Path)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+p.setting("GOOS"), "GOARCH="+p.setting("GOARCH"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		if f := strings.Split(strings.TrimSpace(line), "\t"); len(f) == 3 {
			list = append(list, linkedPackage{f[0], f[1], f[2]})
		}
	}
	return list, nil
}

// addLicences adds the licences in dir and in the directories above it, up to top.
func (m *module) addLicences(dir, top string) error {
	for ; ; dir = filepath.Dir(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			file := filepath.Join(dir, e.Name())
			if !accompanying.MatchString(e.Name()) || filepath.Ext(file) == ".docs" || !e.Type().IsRegular() || slices.Contains(m.files, file) {
				continue
			}
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			m.files = append(m.files, file)
			if !grant.MatchString(e.Name()) {
				continue
			}
			for _, found := range licensecheck.Scan(text).Match {
				if !found.IsURL && !slices.Contains(m.ids, found.ID) {
					m.ids = append(m.ids, found.ID)
				}
			}
		}
		if dir == top {
			break
		}
	}
	slices.Sort(m.ids)
	if len(m.ids) == 0 {
		return fmt.Errorf("no licence is recognised in %s", top)
	}
	return nil
}

// addStandard adds the standard library of the Go that is at work, which must be the programs'.
func addStandard(modules map[string]*module, version string) error {
	out, err := exec.Command("go", "env", "GOVERSION", "GOROOT").Output()
	if err != nil {
		return fmt.Errorf("go env: %w", err)
	}
	have, root, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if have != version {
		return fmt.Errorf("the programs are made by %s, and here is %s", version, have)
	}
	m := &module{path: standard, version: strings.TrimPrefix(version, "go")}
	modules[standard] = m
	return m.addLicences(root, root)
}

// writeLicences writes tiffin's licence, then the texts of all modules.
func writeLicences(file string, modules map[string]*module) error {
	own, err := os.ReadFile("LICENSE")
	if err != nil {
		return err
	}
	var b strings.Builder
	b.WriteString("tiffin is under the licence below. Linked into it are other modules, whose licences follow.\n\n")
	b.Write(own)
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		m := modules[name]
		for _, file := range m.files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, "\n%s\n%s: %s\n\n%s\n", strings.Repeat("=", 80), name, filepath.Base(file), strings.TrimSpace(string(text)))
		}
	}
	return os.WriteFile(file, []byte(b.String()), 0o666)
}
