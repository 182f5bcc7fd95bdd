// RUN --mount=type=ssh, with OpenSSH's agent.

package cli_test

import (
	bits "encoding/binary" // binary is the tiffin that is tested
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tiffin/internal/test/must"
)

const agentBuild = `FROM tiffin/base
RUN --mount=type=ssh,required --mount=type=bind,target=/c /c/agent-probe >/keys
RUN --mount=type=ssh,id=other,target=/agent --mount=type=bind,target=/c SSH_AUTH_SOCK=/agent /c/agent-probe >>/keys
USER 5
RUN --mount=type=ssh,uid=5,gid=5 --mount=type=bind,target=/c /c/agent-probe | grep -q '1 key: lunch'
USER 0
RUN echo "later: $SSH_AUTH_SOCK" >>/keys; ls -d /run/buildkit /agent || true
`

// TestARunTalksToTheAgent of the user, by SSH_AUTH_SOCK or at the place that it asks for; nothing
// of it is there later, nor in the image.
func TestARunTalksToTheAgent(t *testing.T) {
	tools := map[string]string{}
	for _, name := range []string{"ssh-agent", "ssh-add", "ssh-keygen"} {
		tools[name] = must.Tool(t, name)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range people(t) {
		t.Run(p.name, func(t *testing.T) {
			need(t, p)
			k := newKiller(t, p)
			dir := k.context(agentBuild)
			copyFile(t, self, filepath.Join(dir, "agent-probe"))
			home := filepath.Dir(k.store)
			socket, key := filepath.Join(home, "agent"), filepath.Join(home, "key")
			t.Setenv("SSH_AUTH_SOCK", socket)
			agent := exec.Command(tools["ssh-agent"], "-D", "-a", socket) // ssh-agent(1)
			agent.SysProcAttr = p.attr()
			if err := agent.Start(); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = agent.Process.Kill(); _ = agent.Wait() }()
			for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
				if _, err := os.Stat(socket); err == nil {
					break
				} else if time.Now().After(end) {
					t.Fatal(err)
				}
			}
			// By the tests' own user: p is perhaps in no user database.
			for _, args := range [][]string{{"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lunch", "-f", key}, {"ssh-add", "-q", key}} {
				if out, err := exec.Command(tools[args[0]], args[1:]...).CombinedOutput(); err != nil {
					t.Fatalf("%q: %v: %s", args, err, out)
				}
			}
			k.tiffin("build", "-q", "--ssh", "default", "--ssh", "other="+socket, "-t", "keys", dir)
			if got := k.tiffin("run", "--rm", "keys", "cat", "/keys"); got != "1 key: lunch\n1 key: lunch\nlater: \n" {
				t.Errorf("the agent said %q", got)
			}
			if got := k.tiffin("run", "--rm", "keys", "sh", "-c", "ls -d /run/buildkit /agent 2>/dev/null; true"); got != "" {
				t.Errorf("the image has %q", got)
			}
		})
	}
}

// agentProbe asks the agent of SSH_AUTH_SOCK for its keys: draft-ietf-sshm-ssh-agent, "Requesting a
// list of keys".
func agentProbe() {
	conn, err := net.Dial("unix", os.Getenv("SSH_AUTH_SOCK"))
	if err == nil {
		_, err = conn.Write([]byte{0, 0, 0, 1, 11})
	}
	var answer []byte
	if err == nil {
		head := make([]byte, 4)
		_, err = io.ReadFull(conn, head)
		answer = make([]byte, bits.BigEndian.Uint32(head))
	}
	if err == nil {
		_, err = io.ReadFull(conn, answer)
	}
	if err != nil || len(answer) < 5 || answer[0] != 12 {
		fmt.Fprintln(os.Stderr, "agent-probe:", err, answer)
		os.Exit(1)
	}
	rest := answer[5:]
	next := func() string {
		n := 4 + bits.BigEndian.Uint32(rest)
		text := rest[4:n]
		rest = rest[n:]
		return string(text)
	}
	_ = next() // the key
	fmt.Println(bits.BigEndian.Uint32(answer[1:]), "key:", next())
}
