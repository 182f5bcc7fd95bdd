// Package fs serves image layers and one writable directory as a single file
// system over FUSE, fuse(4).
package fs
