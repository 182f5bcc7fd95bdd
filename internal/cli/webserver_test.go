package cli_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tiffin/internal/test/must"
)

// TestAWebServerOfADistribution is the tutorial of every runner, for a user with one id: a web
// server out of an image, its port here, its pages from a directory, and a client that finds it by
// name when it is healthy.
func TestAWebServerOfADistribution(t *testing.T) {
	needTun(t)
	image := os.Getenv("TIFFIN_TEST_IMAGE")
	if image == "" {
		must.Skip(t, "", "TIFFIN_TEST_IMAGE is not set: make an image with scripts/testimage")
	}
	p := everybody(t)[0]
	if p.uid == 0 {
		p = everybody(t)[1]
	}
	need(t, p)
	store := p.home(t)
	dir := filepath.Dir(store)
	for name, text := range map[string]string{"srv/page": "rice\n", "compose.yaml": `
services:
  client:
    image: debian
    command: python3 -c "import urllib.request as u; print(u.urlopen('http://web/page').read().decode())"
    depends_on: {web: {condition: service_healthy}}
  web:
    image: debian
    command: python3 -m http.server -d /srv 80
    volumes: ["./srv:/srv:ro"]
    ports: ["127.0.0.1::80"]
    healthcheck: {test: "python3 -c 'import urllib.request as u; u.urlopen(\"http://localhost/\")'"}
    stop_grace_period: 0s
`} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tiffin := func(args ...string) string { return strings.TrimSpace(p.as(t, store, "", binary, args...)) }
	compose := func(args ...string) string {
		return tiffin(append([]string{"compose", "-p", "shop"}, args...)...)
	}
	tiffin("load", "-q", "-i", image)
	defer compose("down")
	compose("up", "-d")
	if code := tiffin("wait", "shop-client-1"); code != "0" {
		t.Errorf("the client ends with %s", code)
	}
	if got := compose("logs", "--no-log-prefix", "client"); got != "rice" {
		t.Errorf("the client has seen %q", got)
	}
	answer, err := http.Get("http://" + tiffin("port", "shop-web-1", "80") + "/page")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if page, err := io.ReadAll(answer.Body); err != nil || string(page) != "rice\n" {
		t.Errorf("outside it is %q, %v", page, err)
	}
}
