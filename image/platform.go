package image

import (
	"fmt"
	"runtime"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Platform is what machine an image is for, by Go's names: GOOS, GOARCH and a
// variant such as v7. OCI image-spec v1.1 image-index.md, "platform".
type Platform struct{ OS, Architecture, Variant string }

// ThisMachine is the platform that runs here without emulation.
func ThisMachine() Platform { return Platform{OS: "linux", Architecture: runtime.GOARCH} }

// ParsePlatform reads OS/ARCHITECTURE[/VARIANT] or an architecture alone, also
// by the kernel's name for it; "" is this machine.
func ParsePlatform(s string) (Platform, error) {
	if s == "" {
		return ThisMachine(), nil
	}
	parts := strings.Split(strings.ToLower(s), "/")
	if len(parts) == 1 {
		parts = []string{"linux", parts[0]}
	}
	if len(parts) > 3 || parts[0] == "" || parts[1] == "" {
		return Platform{}, fmt.Errorf("platform %q is not OS/ARCHITECTURE, such as linux/arm64", s)
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	switch p.Architecture { // uname(2), machine
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	}
	return p, nil
}

func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// Runs reports whether an image for other is one for p. What other leaves open
// fits; arm64 is v8 if nothing else is said.
func (p Platform) Runs(other ocispec.Platform) bool {
	variant := func(arch, v string) string {
		if arch == "arm64" && v == "" {
			return "v8"
		}
		return v
	}
	return (other.OS == "" || other.OS == p.OS) &&
		(other.Architecture == "" || other.Architecture == p.Architecture) &&
		(p.Variant == "" || other.Variant == "" || variant(p.Architecture, p.Variant) == variant(other.Architecture, other.Variant))
}

// choose finds the manifest for the platform in an index. A descriptor without
// a platform is for all; what buildkit attests has "unknown".
func (p Platform) choose(ix []ocispec.Descriptor) (ocispec.Descriptor, bool) {
	for _, d := range ix {
		if d.Platform == nil || p.Runs(*d.Platform) {
			return d, true
		}
	}
	return ocispec.Descriptor{}, false
}
