// A tiffin without further programs, as `go build` and `go test` make it without the tag.

//go:build !embedded

package programs

// Embedded lists the programs that are built in: none.
func Embedded() []Program { return nil }
