// Platforms: which machine an image is for, and which image of an index a machine gets.

package oci

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/cpu"
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

// Runs reports whether an image for other runs on p. Fields that other leaves empty fit. On amd64 a
// variant is the level of the processor, which also runs what is for lower levels; arm64 is v8
// unless other says otherwise.
func (p Platform) Runs(other ocispec.Platform) bool {
	switch {
	case other.OS != "" && other.OS != p.OS || other.Architecture != "" && other.Architecture != p.Architecture:
		return false
	case p.Architecture == "amd64":
		return level(other.Variant) <= p.level()
	case p.Architecture == "arm64":
		return p.Variant == "" || other.Variant == "" || cmp.Or(p.Variant, "v8") == cmp.Or(other.Variant, "v8")
	}
	return p.Variant == "" || other.Variant == "" || p.Variant == other.Variant
}

// level is the level of amd64 processors that a variant is for, from 1 on: the x86-64 psABI, 3.1.1
// "Processor Architecture". A variant that is not known here fits no processor.
func level(variant string) int {
	if i := slices.Index([]string{"v1", "v2", "v3", "v4"}, cmp.Or(variant, "v1")); i >= 0 {
		return i + 1
	}
	return 1000
}

// level is the level asked for, or else that of this processor.
func (p Platform) level() int {
	if x := cpu.X86; p.Variant == "" && p.Architecture == runtime.GOARCH {
		v2 := x.HasCX16 && x.HasPOPCNT && x.HasSSE3 && x.HasSSSE3 && x.HasSSE41 && x.HasSSE42
		v3 := v2 && x.HasAVX && x.HasAVX2 && x.HasBMI1 && x.HasBMI2 && x.HasFMA && x.HasOSXSAVE
		v4 := v3 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL
		switch {
		case v4:
			return 4
		case v3:
			return 3
		case v2:
			return 2
		}
	}
	return level(p.Variant)
}

// Fits reports whether a descriptor's manifest is for the platform. Without a platform it is for
// all; buildkit's attestations have the platform "unknown".
func (p Platform) Fits(d ocispec.Descriptor) bool {
	return known(d) && (d.Platform == nil || p.Runs(*d.Platform))
}

// Choose finds the manifest for the platform in an index: the first of those for the highest level.
func (p Platform) Choose(index []ocispec.Descriptor) (best ocispec.Descriptor, err error) {
	highest := 0
	for _, d := range index {
		l := 1
		if d.Platform != nil && d.Platform.Architecture == "amd64" {
			l = level(d.Platform.Variant)
		}
		if p.Fits(d) && l > highest {
			best, highest = d, l
		}
	}
	if highest == 0 {
		err = fmt.Errorf("%w %s, only for %s", ErrOtherPlatform, p, platforms(index))
	}
	return best, err
}

// ErrOtherPlatform is wrapped by errors that say that an image is for other machines.
var ErrOtherPlatform = errors.New("has no image for")

// Prefer is Choose, or else returns the first image, so that one for other machines can be listed
// and handed on.
func (p Platform) Prefer(index []ocispec.Descriptor) (ocispec.Descriptor, error) {
	d, err := p.Choose(index)
	if i := slices.IndexFunc(index, IsImage); err != nil && i >= 0 {
		return index[i], nil
	}
	return d, err
}

// IsImage leaves out what is in indexes beside images, such as buildkit's attestations.
func IsImage(d ocispec.Descriptor) bool {
	return known(d) && (d.Platform == nil || d.Platform.OS != "unknown")
}

// known leaves out what has an unknown media type. OCI image-spec v1.1 image-index.md: "An
// encountered mediaType that is unknown to the implementation MUST NOT generate an error."
func known(d ocispec.Descriptor) bool {
	return d.MediaType == "" || slices.Contains(types, d.MediaType)
}

// platforms lists what an index has images for.
func platforms(index []ocispec.Descriptor) string {
	var names []string
	for _, d := range index {
		if d.Platform != nil && IsImage(d) {
			names = append(names, Platform{d.Platform.OS, d.Platform.Architecture, d.Platform.Variant}.String())
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 0 {
		return strings.Join(names, ", ")
	}
	return "nothing known"
}
