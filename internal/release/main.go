// Command inventory writes what a release has to say of the modules that are linked into it: a bill
// of materials, in CycloneDX's JSON, and a file with their licences.
//
//	inventory -version VERSION -time SECONDS -sbom FILE -copyright FILE PROGRAM…
//
// It runs at the top of the checkout that the programs were built from. The first is tiffin, the
// others are those that it carries. Which modules they are made of, and by which flags, is what
// they say themselves (go version -m). Each must have a licence that is recognised. Time is that of
// the commit, in seconds since 1970; the same programs give the same bytes.
package main

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"flag"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

func main() {
	version := flag.String("version", "", "of the release")
	seconds := flag.Int64("time", 0, "of the commit, `seconds` since 1970")
	sbom := flag.String("sbom", "", "`file` for the bill of materials")
	copyright := flag.String("copyright", "", "`file` for the licences")
	flag.Parse()
	if err := run(*version, time.Unix(*seconds, 0), *sbom, *copyright, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "inventory:", err)
		os.Exit(1)
	}
}

func run(version string, at time.Time, sbom, copyright string, files []string) error {
	programs, err := readPrograms(files)
	if err != nil {
		return err
	}
	modules := map[string]*module{} // by PATH@VERSION: two programs may have two versions of one
	for _, p := range programs {
		if err := p.addModules(modules); err != nil {
			return fmt.Errorf("%s: %w", p.file, err)
		}
	}
	if err := addStandard(modules, programs[0].info.GoVersion); err != nil {
		return err
	}
	if err := writeLicences(copyright, modules); err != nil {
		return err
	}
	return writeBOM(sbom, version, at, programs, modules)
}

// program is an executable file that Go made, and what it says of itself.
type program struct {
	file   string
	digest string // SHA-256, hexadecimal
	info   *debug.BuildInfo
}

func readPrograms(files []string) (programs []program, err error) {
	if len(files) == 0 {
		return nil, fmt.Errorf("no programs are named")
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		info, err := buildinfo.ReadFile(file)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(b)
		programs = append(programs, program{file, hex.EncodeToString(sum[:]), info})
	}
	return programs, nil
}

// setting is a flag or variable of the build.
func (p *program) setting(key string) string {
	for _, s := range p.info.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

// writeBOM writes the bill of materials: CycloneDX 1.6.
func writeBOM(file, version string, at time.Time, programs []program, modules map[string]*module) error {
	bom := cdx.NewBOM()
	components, edges := []cdx.Component{}, []cdx.Dependency{}
	for i, p := range programs {
		c := cdx.Component{BOMRef: p.info.Path, Type: cdx.ComponentTypeApplication, Name: filepath.Base(p.info.Path), Version: version,
			Hashes: &[]cdx.Hash{{Algorithm: cdx.HashAlgoSHA256, Value: p.digest}}, Licenses: &cdx.Licenses{{License: &cdx.License{ID: "Apache-2.0"}}}}
		on := []string{standard}
		for _, d := range p.info.Deps {
			on = append(on, d.Path+"@"+d.Version)
		}
		if i == 0 {
			c.Properties = &[]cdx.Property{{Name: "commit", Value: p.setting("vcs.revision")}, {Name: "platform", Value: p.setting("GOOS") + "/" + p.setting("GOARCH")}}
			bom.Metadata = &cdx.Metadata{Timestamp: at.UTC().Format(time.RFC3339), Component: &c}
			for _, inner := range programs[1:] {
				on = append(on, inner.info.Path)
			}
		} else {
			components = append(components, c)
		}
		slices.Sort(on)
		edges = append(edges, cdx.Dependency{Ref: p.info.Path, Dependencies: &on})
	}
	for _, name := range slices.Sorted(maps.Keys(modules)) {
		m, licences := modules[name], cdx.Licenses{}
		for _, id := range m.ids {
			licences = append(licences, cdx.LicenseChoice{License: &cdx.License{ID: id}})
		}
		c := cdx.Component{BOMRef: name, Type: cdx.ComponentTypeLibrary, Name: m.path, Version: m.version, Licenses: &licences,
			PackageURL: "pkg:golang/" + m.path + "@" + url.QueryEscape(m.version)}
		if m.sum != "" {
			c.Properties = &[]cdx.Property{{Name: "go.sum", Value: m.sum}}
		}
		components = append(components, c)
	}
	bom.Components, bom.Dependencies = &components, &edges
	var text strings.Builder
	e := cdx.NewBOMEncoder(&text, cdx.BOMFileFormatJSON).SetPretty(true)
	if err := e.EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(text.String()), 0o666)
}
