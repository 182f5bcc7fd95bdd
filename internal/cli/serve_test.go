package cli_test

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tiffin/internal/test/must"
)

// serving is a `tiffin serve` in a store of its own.
type serving struct {
	cmd *exec.Cmd
	dir string
	url string
	log *bytes.Buffer
}

func serve(t *testing.T, args ...string) *serving {
	t.Helper()
	s := &serving{dir: t.TempDir(), log: new(bytes.Buffer)}
	s.cmd = exec.Command(binary, append([]string{"serve", "-q"}, args...)...)
	s.cmd.Env, s.cmd.Stderr = s.env("store"), s.log
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.cmd.Wait()
		t.Fatalf("serve %v: %s", args, s.log)
	}
	s.url = strings.TrimSpace(line)
	return s
}

// token is what the server has left for clients of its user.
func (s *serving) token(t *testing.T) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, ".local/state/tiffin/serve/*/127.0.0.1:*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("token files: %q, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

func (s *serving) env(store string, more ...string) []string {
	return append(append(os.Environ(), "HOME="+s.dir, "XDG_STATE_HOME=", "TIFFIN_ROOT="+filepath.Join(s.dir, store), "DOCKER_CONFIG="+s.dir), more...)
}

// TestServeFinishesWhatHasBegun: SIGTERM in the middle of a push.
func TestServeFinishesWhatHasBegun(t *testing.T) {
	s := serve(t, "--addr", "127.0.0.1:0")
	req, err := http.NewRequest(http.MethodPost, s.url+"/v2/x/blobs/uploads/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("owner", s.token(t))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	// sha256 of "{}\n", whose second half comes after the signal.
	const digest = "sha256:ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"
	r, w := io.Pipe()
	req, err = http.NewRequest(http.MethodPut, s.url+resp.Header.Get("Location")+"?digest="+digest, r)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("owner", s.token(t))
	req.Header.Set("Expect", "100-continue") // the body begins when the server reads it
	client := http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
	answer := make(chan string, 1)
	go func() {
		resp, err := client.Do(req)
		if err != nil {
			answer <- err.Error()
			return
		}
		resp.Body.Close()
		answer <- resp.Status
	}()
	fmt.Fprint(w, "{}")
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	for try := 0; ; try++ { // until no new connections are taken
		c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			break
		}
		c.Close()
		if time.Sleep(10 * time.Millisecond); try == 6000 {
			t.Fatal("new connections are still taken")
		}
	}
	fmt.Fprint(w, "\n")
	w.Close()
	if got := <-answer; got != "201 Created" {
		t.Errorf("the request that had begun: %s", got)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("%v: %s", err, s.log)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "store", "tmp", "*")); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

// TestServeWithoutPasswordsIsForItsUser: another user of this machine may pull, and push only if
// everybody may; knowing where the token is does not help.
func TestServeWithoutPasswordsIsForItsUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it takes root to be two people")
	}
	other := everybody(t)[1]
	for flag, pushes := range map[string]bool{"--addr=127.0.0.1:0": false, "--addr=[::1]:0": false, "--insecure-public": true} {
		args := []string{flag}
		if pushes {
			args = append(args, "--addr=127.0.0.1:0")
		}
		s := serve(t, args...)
		dir, err := os.MkdirTemp("", "tiffin-serve-")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		if err := os.Chown(dir, other.uid, other.gid); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimPrefix(s.url, "http://")
		for _, who := range []person{other, {"root", 0, 0}} {
			cmd := exec.Command("sh", "-c", fmt.Sprintf("%[1]s pull -q %[2]s/tiffin/base && %[1]s tag %[2]s/tiffin/base %[2]s/by/%[3]d && %[1]s push -q %[2]s/by/%[3]d", binary, name, who.uid))
			cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_STATE_HOME="+s.dir+"/.local/state", "DOCKER_CONFIG="+dir, fmt.Sprintf("TIFFIN_ROOT=%s/%d", dir, who.uid))
			cmd.SysProcAttr = who.attr()
			out, err := cmd.CombinedOutput()
			if want := pushes || who.uid == 0; (err == nil) != want || !strings.HasPrefix(string(out), name) || !want && !strings.Contains(string(out), "wants a password") {
				t.Errorf("%s, %s: %v: %s", flag, who.name, err, out)
			}
		}
	}
}

// TestServeOverTLS: to an address of this machine that others reach, whose
// certificate an authority of the test's own has signed.
func TestServeOverTLS(t *testing.T) {
	ip := publicAddress(t)
	cert, key := certificate(t, ip)
	s := serve(t, "--addr", net.JoinHostPort(ip.String(), "0"), "--tls-cert", cert, "--tls-key", key, "--read-only")
	name := strings.TrimPrefix(s.url, "https://") + "/tiffin/base"
	for _, c := range []struct {
		env, flag string
		ok        bool
	}{{"X=", "--tls-verify=true", false}, {"X=", "--tls-verify=false", true}, {"SSL_CERT_FILE=" + cert, "--tls-verify=true", true}} {
		cmd := exec.Command(binary, "pull", c.flag, name)
		cmd.Env = s.env("other", c.env)
		if out, err := cmd.CombinedOutput(); (err == nil) != c.ok || !c.ok && !strings.Contains(string(out), "if you trust this network: --tls-verify=false") {
			t.Errorf("%s %s: %v: %s", c.env, c.flag, err, out)
		}
	}
}

func publicAddress(t *testing.T) net.IP {
	t.Helper()
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP
		}
	}
	must.Skip(t, "registry", "this machine has no address but loopback")
	return nil
}

func certificate(t *testing.T, ip net.IP) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{ip}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "key.pem")
	for name, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}
