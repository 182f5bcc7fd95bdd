// Package image keeps images: a store on disk, and what is done with whole
// images there.
package image
