// What machine an image is for, and which image of an index is for a machine.

package oci

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
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

// Fits reports whether a descriptor's manifest is for the platform. One without a platform is for
// all; what buildkit attests has "unknown".
func (p Platform) Fits(d ocispec.Descriptor) bool { return d.Platform == nil || p.Runs(*d.Platform) }

// Choose finds the manifest for the platform in an index.
func (p Platform) Choose(index []ocispec.Descriptor) (ocispec.Descriptor, error) {
	if i := slices.IndexFunc(index, p.Fits); i >= 0 {
		return index[i], nil
	}
	return ocispec.Descriptor{}, fmt.Errorf("%w %s, only for %s", ErrOtherPlatform, p, platforms(index))
}

// ErrOtherPlatform is wrapped by errors that say that an image is for other machines.
var ErrOtherPlatform = errors.New("has no image for")

// Prefer is Choose, or else the first image, in order that one for other machines can be listed and
// handed on.
func (p Platform) Prefer(index []ocispec.Descriptor) (ocispec.Descriptor, error) {
	d, err := p.Choose(index)
	if i := slices.IndexFunc(index, IsImage); err != nil && i >= 0 {
		return index[i], nil
	}
	return d, err
}

// IsImage leaves out what is in indexes beside images, such as buildkit's attestations.
func IsImage(d ocispec.Descriptor) bool { return d.Platform == nil || d.Platform.OS != "unknown" }

// platforms lists what an index has images for.
func platforms(index []ocispec.Descriptor) string {
	var names []string
	for _, d := range index {
		if d.Platform != nil && IsImage(d) {
			names = append(names, d.Platform.OS+"/"+d.Platform.Architecture)
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "nothing known"
}
