// Package layer turns a tarball into something that can be looked things up in
// without unpacking it, and an upper directory back into a tarball.
package layer
