package server

import (
	"slices"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// room is a server with a teacher, a tutor of the course, a guest and two students.
func room(t *testing.T) (h *served, as func(string) []string) {
	t.Helper()
	p, err := ReadPasswords(htpasswd(t, "teacher", "pw", "tutor", "guest", "anna", "otto", "library", "Upper"))
	if err != nil {
		t.Fatal(err)
	}
	rights, err := ReadRights(written(t, "# who may push\nteacher *\ntutor course/*  exam # and nothing of the students\nguest\n"), p)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, &Server{Auth: p, Rights: rights}), func(user string) []string { return []string{"Authorization", basicAuth(user, "pw")} }
}

// pushAs pushes a fixture, and returns the answers' statuses: of the blobs and of the manifest.
func (h *served) pushAs(t *testing.T, auth []string, repo, tag string, f *fixture) (statuses []int) {
	t.Helper()
	for d, b := range f.blobs {
		statuses = append(statuses, h.do(t, "POST", "/v2/"+repo+"/blobs/uploads/?digest="+d.String(), b, auth...).StatusCode)
	}
	return append(statuses, h.do(t, "PUT", "/v2/"+repo+"/manifests/"+tag, f.manifest, append(auth, "Content-Type", f.m.MediaType)...).StatusCode)
}

func TestRights(t *testing.T) {
	h, as := room(t)
	f := newFixture(t, "a", thisArch())
	for _, c := range []struct {
		user, repo string
		may        bool
	}{
		{"teacher", "course/lab1", true}, {"teacher", "anna/lab1", true}, {"teacher", "debian", true}, {"teacher", "registry.example.org/x", true},
		{"tutor", "course/lab1", true}, {"tutor", "course/a/b", true}, {"tutor", "exam", true}, {"tutor", "library/exam", true},
		{"tutor", "exam/x", false}, {"tutor", "course", false}, {"tutor", "courses/x", false}, {"tutor", "tutor/x", false}, {"tutor", "anna/x", false},
		{"guest", "guest/x", false}, {"guest", "course/lab1", false},
		{"anna", "anna/lab1", true}, {"anna", "anna/a/b", true}, {"anna", "docker.io/anna/x", true},
		{"anna", "anna", false}, {"anna", "annas/x", false}, {"anna", "otto/x", false}, {"anna", "debian", false}, {"anna", "quay.io/anna/x", false}, {"anna", "x/anna/y", false},
		{"library", "debian", false}, {"library", "library/debian", false}, {"Upper", "upper/x", false},
	} {
		want := 403
		if c.may {
			want = 201
		}
		for _, got := range h.pushAs(t, as(c.user), c.repo, "v1", f) {
			if got != want {
				t.Errorf("%s pushes to %s: %d, want %d", c.user, c.repo, got, want)
			}
		}
		h.do(t, "GET", "/v2/course/lab1/manifests/v1", nil, as(c.user)...).want(t, 200)
	}
	warned := strings.Join(h.srv.Warnings("127.0.0.1:0", false), "\n")
	for user, idle := range map[string]bool{"library": true, "Upper": true, "anna": false, "guest": false, "teacher": false} {
		if strings.Contains(warned, `"`+user+`"`) != idle {
			t.Errorf("warnings about %s: %s", user, warned)
		}
	}
}

// TestNobodyDeletesWhatIsAnothers by a tag, by a digest in a repository of their own, or what has
// no repository: a signature, a replaced image, a blob that waits.
func TestNobodyDeletesWhatIsAnothers(t *testing.T) {
	h, as := room(t)
	one, two, alone := newFixture(t, "a", thisArch()), newFixture(t, "b", thisArch()), newFixture(t, "c", thisArch())
	h.pushAs(t, as("anna"), "anna/lab", "v1", one)
	h.pushAs(t, as("anna"), "anna/lab", "v1", two) // one has no name now
	h.pushAs(t, as("otto"), "otto/own", "v1", newFixture(t, "d", thisArch()))
	empty := []byte("{}")
	signature := &fixture{blobs: map[digest.Digest][]byte{}}
	subject := two.descriptor()
	c := signature.add(empty, "application/vnd.oci.empty.v1+json")
	signature.m = ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "a/signature",
		Config: c, Layers: []ocispec.Descriptor{c}, Subject: &subject}
	signature.seal(t)
	if got := h.pushAs(t, as("anna"), "anna/lab", digest.FromBytes(signature.manifest).String(), signature); slices.Max(got) != 201 {
		t.Fatal(got)
	}
	waits := alone.blobs[alone.m.Config.Digest]
	h.do(t, "POST", "/v2/anna/lab/blobs/uploads/?digest="+alone.m.Config.Digest.String(), waits, as("anna")...).want(t, 201)
	for _, path := range []string{"anna/lab/manifests/v1", "anna/lab/manifests/" + subject.Digest.String(), "anna/lab/blobs/" + alone.m.Config.Digest.String(),
		"otto/own/manifests/" + digest.FromBytes(one.manifest).String(), "otto/own/manifests/" + digest.FromBytes(signature.manifest).String(),
		"otto/own/blobs/" + alone.m.Config.Digest.String()} {
		h.do(t, "DELETE", "/v2/"+path, nil, as("otto")...).want(t, 403, "DENIED")
		h.do(t, "DELETE", "/v2/"+path, nil, as("guest")...).want(t, 403, "DENIED")
	}
	// A manifest that waits for its index, such as what a builder attests.
	attests := &fixture{blobs: signature.blobs, m: signature.m}
	attests.m.Subject, attests.m.ArtifactType = nil, ""
	attests.m.Config.MediaType = "application/vnd.example.attestation"
	attests.seal(t)
	waiting := digest.FromBytes(attests.manifest).String()
	if got := h.pushAs(t, as("anna"), "anna/lab", waiting, attests); slices.Max(got) != 201 {
		t.Fatal(got)
	}
	h.do(t, "DELETE", "/v2/anna/lab/manifests/"+waiting, nil, as("otto")...).want(t, 403, "DENIED")
	h.do(t, "DELETE", "/v2/otto/own/manifests/"+waiting, nil, as("otto")...).want(t, 405, "it is anna/lab@")
	h.do(t, "DELETE", "/v2/anna/lab/manifests/"+waiting, nil, as("teacher")...).want(t, 202)
	if got := h.do(t, "DELETE", "/v2/otto/own/manifests/"+subject.Digest.String(), nil, as("otto")...); got.StatusCode/100 == 2 {
		t.Errorf("an image of another repository: %s", got.Status)
	}
	has := func(status int) {
		t.Helper()
		for _, path := range []string{"manifests/v1", "manifests/" + digest.FromBytes(one.manifest).String(), "manifests/" + digest.FromBytes(signature.manifest).String(),
			"blobs/" + alone.m.Config.Digest.String()} {
			h.do(t, "GET", "/v2/anna/lab/"+path, nil, as("guest")...).want(t, status)
		}
	}
	has(200)
	h.do(t, "DELETE", "/v2/anna/lab/manifests/"+digest.FromBytes(signature.manifest).String(), nil, as("anna")...).want(t, 202)
	h.do(t, "DELETE", "/v2/anna/lab/manifests/v1", nil, as("anna")...).want(t, 202)
	h.do(t, "DELETE", "/v2/anna/lab/manifests/"+digest.FromBytes(one.manifest).String(), nil, as("teacher")...).want(t, 202)
	h.do(t, "DELETE", "/v2/anna/lab/blobs/"+alone.m.Config.Digest.String(), nil, as("teacher")...).want(t, 202)
	has(404)
}

// TestUploadsAreTheirUsers: another one can neither go on with it nor give it up.
func TestUploadsAreTheirUsers(t *testing.T) {
	h, as := room(t)
	at := h.do(t, "POST", "/v2/course/x/blobs/uploads/", nil, as("tutor")...).want(t, 202).Header.Get("Location")
	for _, method := range []string{"GET", "PATCH", "PUT", "DELETE"} {
		h.do(t, method, at, nil, as("teacher")...).want(t, 404, "BLOB_UPLOAD_UNKNOWN")
	}
	h.do(t, "GET", at, nil, as("tutor")...).want(t, 204)
}

func TestRightsThatAreRefused(t *testing.T) {
	p, err := ReadPasswords(htpasswd(t, "anna", "pw"))
	if err != nil {
		t.Fatal(err)
	}
	for line, says := range map[string]string{
		"otto *": "no password of a user otto", "anna course/": `"course/" is neither`, "anna */x": "is neither", "anna docker.io/x": "is neither", "anna library/x": "is neither",
		"anna UP": "is neither", "anna x\n\nanna y": "line 3: anna has a line already", "anna course*": "is neither", "anna a:b": "is neither",
	} {
		if _, err := ReadRights(written(t, line), p); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", line, err, says)
		}
	}
}
