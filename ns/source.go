// Some files of this package as text, for lessons that show them.

package ns

import "embed"

// Source is the text of files that lessons quote. Programs that do not use it do not have it.
//
//go:embed creds.go init.go mounts.go net.go plumbing.go
var Source embed.FS
