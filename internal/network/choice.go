// What --network can say.

package network

import (
	"fmt"
	"strings"

	"tiffin/internal/errs"
)

// Kinds of networks.
const (
	None = "none" // loopback alone
	Host = "host" // that of this machine
	User = "user" // its own, with a way out
	// Pasta and Slirp are as User, with a program of others: Foreign.
	Pasta = "pasta"
	Slirp = "slirp4netns"
	// Container is that of another container, whose ID or name follows.
	Container = "container"
	// Named is one that was made with a name, and that other containers join too.
	Named = "named"
)

// HostLoopback is what follows User where the gateway is to be the host's loopback.
const HostLoopback = "host-loopback"

// Choice is an argument of --network.
type Choice struct {
	Kind         string
	HostLoopback bool   // the gateway's addresses lead to 127.0.0.1 and ::1 of the host
	Name         string // of the container, or of the network
}

// ParseChoice reads an argument of --network.
func ParseChoice(s string) (Choice, error) {
	kind, option, more := strings.Cut(s, ":")
	switch {
	case kind == User && (!more || option == HostLoopback):
		return Choice{Kind: kind, HostLoopback: more}, nil
	case (kind == None || kind == Host || kind == Pasta || kind == Slirp) && !more:
		return Choice{Kind: kind}, nil
	case kind == Container && option != "":
		return Choice{Kind: kind, Name: option}, nil
	case !more && !Reserved(kind) && kind != "":
		return Choice{Kind: Named, Name: kind}, nil
	}
	err := fmt.Errorf("network %q is not there", s)
	if s == "bridge" || s == "default" {
		return Choice{}, errs.Hint(err, "user, which is the default, has a way out; in one that `tiffin network create` has made containers meet, too")
	}
	return Choice{}, errs.Hint(err,
		"use none (only loopback), user (its own, with a way out), user:host-loopback (also to the services of this machine), pasta or slirp4netns (as user, by these programs), host (that of this machine) or container:NAME (that of another container), or a network that `tiffin network create` has made")
}
