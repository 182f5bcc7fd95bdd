package client

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"
)

// manager plays systemd's: it answers one call, and keeps it.
type manager struct {
	answer []*dbus.Message // after the call, each in reply to it
	asked  *dbus.Message
}

// serve speaks the server's side of D-Bus Specification 0.42, "Authentication Protocol", and then
// the messages.
func (m *manager) serve(c net.Conn) error {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		switch f := strings.Fields(strings.TrimLeft(line, "\x00")); f[0] {
		case "AUTH":
			if len(f) == 1 {
				fmt.Fprint(c, "REJECTED EXTERNAL\r\n")
			} else {
				fmt.Fprint(c, "DATA\r\n")
			}
		case "DATA": // nothing: the kernel says who it is
			fmt.Fprint(c, "OK 0123456789abcdef0123456789abcdef\r\n")
		case "NEGOTIATE_UNIX_FD":
			fmt.Fprint(c, "ERROR\r\n")
		case "BEGIN":
			if m.asked, err = dbus.DecodeMessage(r); err != nil {
				return err
			}
			for _, a := range m.answer {
				if a.Type != dbus.TypeSignal {
					a.Headers[dbus.FieldReplySerial] = dbus.MakeVariant(m.asked.Serial())
				}
				if err := a.EncodeTo(c, binary.LittleEndian); err != nil {
					return err
				}
			}
			if len(m.answer) > 1 {
				_, _ = r.ReadByte() // until the other side is content
			}
			return nil
		}
	}
}

func message(kind dbus.Type, headers map[dbus.HeaderField]any, body ...any) *dbus.Message {
	m := &dbus.Message{Type: kind, Headers: map[dbus.HeaderField]dbus.Variant{}, Body: body}
	for k, v := range headers {
		m.Headers[k] = dbus.MakeVariant(v)
	}
	m.Headers[dbus.FieldSignature] = dbus.MakeVariant(dbus.SignatureOf(body...))
	return m
}

// removed is the signal that a job has ended.
func removed(job dbus.ObjectPath, result string) *dbus.Message {
	return message(dbus.TypeSignal, map[dbus.HeaderField]any{
		dbus.FieldPath: dbus.ObjectPath("/org/freedesktop/systemd1"), dbus.FieldInterface: "org.freedesktop.systemd1.Manager", dbus.FieldMember: "JobRemoved",
	}, uint32(7), job, "tiffin.scope", result)
}

func TestScopeOfEachAnswer(t *testing.T) {
	const job = dbus.ObjectPath("/org/freedesktop/systemd1/job/7")
	accepted := func() *dbus.Message { return message(dbus.TypeMethodReply, nil, job) }
	for _, e := range []struct {
		name   string
		answer []*dbus.Message
		want   string
	}{
		{"done", []*dbus.Message{accepted(), removed(job, "done")}, ""},
		{"another's job ends first", []*dbus.Message{removed("/org/freedesktop/systemd1/job/6", "failed"), accepted(), removed(job, "done")}, ""},
		{"the end overtakes the answer", []*dbus.Message{removed(job, "done"), accepted()}, ""},
		{"failed", []*dbus.Message{accepted(), removed(job, "failed")}, `the job ended as "failed"`},
		{"refused", []*dbus.Message{message(dbus.TypeError, map[dbus.HeaderField]any{dbus.FieldErrorName: "org.freedesktop.systemd1.UnitExists"}, "Unit tiffin.scope already exists.")}, "already exists"},
		{"gone", []*dbus.Message{accepted()}, "it has hung up"},
		{"nothing said", nil, ""},
	} {
		t.Run(e.name, func(t *testing.T) {
			socket := filepath.Join(t.TempDir(), "pri%vate=,;") // what has a meaning in an address
			l, err := net.Listen("unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			m, ended := &manager{answer: e.answer}, make(chan error, 1)
			go func() {
				c, err := l.Accept()
				if err == nil {
					err = m.serve(c)
				}
				ended <- err
			}()
			err = startScope(socket, "tiffin.scope", 4711)
			l.Close()
			if served := <-ended; served != nil {
				t.Fatal("the manager:", served)
			}
			if e.name == "nothing said" {
				if err == nil {
					t.Error("a scope, without an answer")
				}
				return
			}
			if e.want == "" && err != nil || e.want != "" && (err == nil || !strings.Contains(err.Error(), e.want)) {
				t.Errorf("%v, want %q", err, e.want)
			}
			// org.freedesktop.systemd1(5), StartTransientUnit()
			if got := fmt.Sprint(m.asked.Headers[dbus.FieldMember], m.asked.Headers[dbus.FieldSignature], m.asked.Body); !strings.HasPrefix(got, `"StartTransientUnit" @g "ssa(sv)a(sa(sv))" [tiffin.scope fail [`) ||
				!strings.Contains(got, "[PIDs @au [4711]]") || !strings.Contains(got, "[Delegate true]") {
				t.Errorf("asked: %s", got)
			}
		})
	}
}
