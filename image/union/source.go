// The merge rules as text, for lessons that show them.

package union

import "embed"

// Source is the text of files that lessons quote. Programs that do not use it do not have it.
//
//go:embed merge.go
var Source embed.FS
