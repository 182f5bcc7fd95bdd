package reference

import (
	"strings"
	"testing"

	distribution "github.com/distribution/reference"

	"tiffin/internal/errs"
)

func TestReferencesAreReadAsDockerReadsThem(t *testing.T) {
	hex := strings.Repeat("0123456789abcdef", 4)
	for _, c := range []struct{ in, full, familiar string }{
		{"debian", "docker.io/library/debian:latest", "debian:latest"},
		{"debian:12", "docker.io/library/debian:12", "debian:12"},
		{"tiffin/base", "docker.io/tiffin/base:latest", "tiffin/base:latest"},
		{"docker.io/debian", "docker.io/library/debian:latest", "debian:latest"},
		{"index.docker.io/library/debian:a", "docker.io/library/debian:a", "debian:a"},
		{"localhost/x", "localhost/x:latest", "localhost/x:latest"},
		{"localhost:5000/x/y:z", "localhost:5000/x/y:z", "localhost:5000/x/y:z"},
		{"[::1]:5000/x", "[::1]:5000/x:latest", "[::1]:5000/x:latest"},
		{"Foo/x", "Foo/x:latest", "Foo/x:latest"},
		{"a__b/c--d.e_f", "docker.io/a__b/c--d.e_f:latest", "a__b/c--d.e_f:latest"},
		{"x@sha256:" + hex, "docker.io/library/x@sha256:" + hex, "x@sha256:" + hex},
		{"x:t@sha256:" + hex, "docker.io/library/x:t@sha256:" + hex, "x:t@sha256:" + hex},
		{"docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
	} {
		r, err := Parse(c.in)
		if err != nil || r.String() != c.full || r.Familiar() != c.familiar {
			t.Errorf("%s: %s, %s, %v", c.in, r, r.Familiar(), err)
		}
		if err := sameAsReference(c.in); err != "" {
			t.Error(err)
		}
	}
}

func TestWhatIsNoReferenceIsRefused(t *testing.T) {
	for _, in := range []string{"", ":x", "a:", "a b", "Debian", "a//b", "/a", "a/", "-a", "a-", "a___b", "a..b", "a:-x", "a@sha256:12", "a@md5:" + strings.Repeat("0", 32),
		strings.Repeat("ab", 128), "a:" + strings.Repeat("x", 129), strings.Repeat("0", 64), "exa_mple.com/x", "[::1/x", "[]/x", "h:/x", "h:p/x", "a\nb", "ä"} {
		_, err := Parse(in)
		if err == nil {
			t.Errorf("%q is accepted", in)
		} else if errs.HintOf(err) == "" || strings.HasSuffix(err.Error(), ".") {
			t.Errorf("%q: %v has no hint, or a full stop", in, err)
		}
		if err := sameAsReference(in); err != "" {
			t.Error(err)
		}
	}
}

// sameAsReference compares with distribution/reference; "" if they agree.
func sameAsReference(in string) string {
	got, gotErr := parse(in)
	want, wantErr := distribution.ParseNormalizedNamed(in)
	if wantErr == nil && distribution.Domain(want) == "" {
		return "" // a domain that is none: theirs makes it part of the path
	}
	if d, ok := want.(distribution.Digested); ok && !ValidDigest(d.Digest()) {
		return "" // sha512
	}
	if (gotErr == nil) != (wantErr == nil) {
		return in + ": " + errString(gotErr) + ", but distribution/reference: " + errString(wantErr)
	}
	if gotErr != nil {
		return ""
	}
	want = distribution.TagNameOnly(want)
	if got.String() != want.String() || got.Familiar() != distribution.FamiliarString(want) {
		return in + ": " + got.String() + " " + got.Familiar() + ", but distribution/reference: " + want.String() + " " + distribution.FamiliarString(want)
	}
	return ""
}

func errString(err error) string {
	if err == nil {
		return "accepted"
	}
	return err.Error()
}

func FuzzReference(f *testing.F) {
	for _, s := range []string{"debian", "a/b:c", "localhost:5000/x@sha256:" + strings.Repeat("a", 64), "[::1]:1/x", "A.b/c__d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if msg := sameAsReference(s); msg != "" {
			t.Error(msg)
		}
		if r, err := parse(s); err == nil {
			for _, form := range []string{r.String(), r.Familiar()} {
				if again, err := parse(form); err != nil || again != r {
					t.Errorf("%q: %q does not mean the same: %v %v", s, form, again, err)
				}
			}
		}
	})
}
