package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// TestAProgramIsDescribed: this program is built, and describes itself.
func TestAProgramIsDescribed(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "inventory")
	if out, err := exec.Command("go", "build", "-trimpath", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Chdir("../..") // where it is meant to run
	var made [2][2][]byte
	for i := range made {
		sbom, copyright := filepath.Join(dir, "sbom"), filepath.Join(dir, "copyright")
		if err := run("1.2.3", time.Unix(1e9, 0), sbom, copyright, []string{program}); err != nil {
			t.Fatal(err)
		}
		for j, file := range []string{sbom, copyright} {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			made[i][j] = b
		}
	}
	if !bytes.Equal(made[0][0], made[1][0]) || !bytes.Equal(made[0][1], made[1][1]) {
		t.Error("made twice, these are not the same")
	}
	bom := new(cdx.BOM)
	if err := cdx.NewBOMDecoder(bytes.NewReader(made[0][0]), cdx.BOMFileFormatJSON).Decode(bom); err != nil {
		t.Fatal(err)
	}
	if m := bom.Metadata; m.Timestamp != "2001-09-09T01:46:40Z" || m.Component.Version != "1.2.3" {
		t.Errorf("it is of %s, version %s", m.Timestamp, m.Component.Version)
	}
	licences := map[string]string{}
	for _, c := range *bom.Components {
		for _, l := range *c.Licenses {
			licences[c.Name] += l.License.ID
		}
	}
	for name, want := range map[string]string{
		standard: "BSD-3-Clause", "github.com/google/licensecheck": "BSD-3-Clause", "github.com/CycloneDX/cyclonedx-go": "Apache-2.0",
	} {
		if licences[name] != want {
			t.Errorf("%s has the licence %q, want %q", name, licences[name], want)
		}
		if !strings.Contains(string(made[0][1]), name) {
			t.Errorf("the licences do not name %s", name)
		}
	}
}

// TestWhatHasNoLicenceIsRefused: neither a program that is none of Go's, nor a module without one.
func TestWhatHasNoLicenceIsRefused(t *testing.T) {
	if _, err := readPrograms([]string{"main.go"}); err == nil {
		t.Error("a source file was taken for a program")
	}
	m, dir := &module{path: "example.org/m", version: "v1.0.0"}, t.TempDir()
	if err := m.addLicences(dir, dir); err == nil {
		t.Errorf("an empty directory has the licences %v", m.ids)
	}
}
