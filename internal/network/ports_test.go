package network

import (
	"fmt"
	"strings"
	"testing"
)

// TestPublishGrammar: each form of -p, and each way to get it wrong.
func TestPublishGrammar(t *testing.T) {
	for arg, want := range map[string]string{
		"80":                     "localhost:0>80/tcp",
		"8080:80":                "localhost:8080>80/tcp",
		"8080:80/UDP":            "localhost:8080>80/udp",
		"0.0.0.0:8080:80":        "0.0.0.0:8080>80/tcp",
		"127.0.0.1::80":          "127.0.0.1:0>80/tcp",
		"[::1]:8080:80":          "[::1]:8080>80/tcp",
		"[::]::80/udp":           "[::]:0>80/udp",
		"8000-8002:80-82":        "localhost:8000>80/tcp localhost:8001>81/tcp localhost:8002>82/tcp",
		"80-81":                  "localhost:0>80/tcp localhost:0>81/tcp",
		"8000-8009:80":           "localhost:8000-8009>80/tcp",
		"65535:65535":            "localhost:65535>65535/tcp",
		"8000-8000:80":           "localhost:8000>80/tcp",
		"":                       `"" is no port`,
		"0":                      `"0" is no port`,
		"65536":                  `"65536" is no port`,
		"-1:80":                  `"" is no port`,
		"+80:80":                 `"+80" is no port`,
		"80/sctp":                "tcp or udp",
		"80/":                    "tcp or udp",
		"localhost:80:80":        "names are not looked up",
		"::1:80:80":              "[brackets]",
		"[127.0.0.1]:80:80":      "[brackets]",
		"[::1:80:80":             "[brackets]",
		"[::ffff:127.0.0.1]:1:1": "is no address",
		"[fe80::1%lo]:80:80":     "is no address",
		"1.2.3:80:80":            "is no address",
		"8000-8002:80-81":        "3 ports of the host for 2",
		"8000:80-81":             "1 ports of the host for 2",
		"81-80":                  "ends before it begins",
	} {
		got := ""
		ports, err := ParsePorts(arg)
		if err != nil {
			got = err.Error()
		}
		for i, p := range ports {
			if got += strings.Repeat(" ", min(i, 1)) + p.At(); p.HostLast > 0 {
				got += fmt.Sprint("-", p.HostLast)
			}
			got += ">" + p.Exposed()
		}
		if err != nil && !strings.Contains(got, want) || err == nil && got != want {
			t.Errorf("-p %q is %s, want %s", arg, got, want)
		}
	}
	if ports, err := ParsePorts("1-65535:1-65535"); err != nil || len(ports) != 65535 {
		t.Errorf("all ports: %d, %v", len(ports), err)
	}
}

// FuzzParsePorts: whatever is written, there is an error or there are ports that can be.
func FuzzParsePorts(f *testing.F) {
	for _, s := range []string{"127.0.0.1:8080:80/tcp", "[::1]:1-9:80", "8000-8001:80-81/udp"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ports, err := ParsePorts(s)
		if (err == nil) != (len(ports) > 0) {
			t.Fatalf("%q: %d ports, %v", s, len(ports), err)
		}
		for _, p := range ports {
			if p.Container == 0 || p.HostLast != 0 && p.HostLast <= p.Host || p.Protocol != TCP && p.Protocol != UDP {
				t.Fatalf("%q: %+v", s, p)
			}
		}
	})
}
