// The programs that scripts/setup has built into this directory. The digests come along, so that no
// start has to hash anything.

//go:build embedded

package programs

import (
	_ "embed"
	"strings"
)

var (
	//go:embed built/runtime
	runtimeProgram string
	//go:embed built/runtime.sha256
	runtimeDigest string

	//go:embed built/network
	networkProgram string
	//go:embed built/network.sha256
	networkDigest string

	//go:embed built/userland
	userlandProgram string
	//go:embed built/userland.sha256
	userlandDigest string

	//go:embed built/compose
	composeProgram string
	//go:embed built/compose.sha256
	composeDigest string

	//go:embed built/dockerfile
	dockerfileProgram string
	//go:embed built/dockerfile.sha256
	dockerfileDigest string
)

// Embedded lists the programs that are built in.
func Embedded() []Program {
	return []Program{
		embedded(Runtime, runtimeProgram, runtimeDigest),
		embedded(Network, networkProgram, networkDigest),
		embedded(Userland, userlandProgram, userlandDigest),
		embedded(Compose, composeProgram, composeDigest),
		embedded(Dockerfile, dockerfileProgram, dockerfileDigest),
	}
}

func embedded(name, data, digest string) Program {
	return Program{Name: name, Digest: strings.TrimSpace(digest), Size: int64(len(data)), data: data}
}
