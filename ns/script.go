// The table of steps as a shell script, to read and to run: explain --script.

package ns

import (
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"tiffin/internal/shell"
)

// Script is the table of steps as a shell script: each step's ByHand, in the order in which the
// runner does them. What a line ending in " sh" starts gets the rest as a here-document on
// descriptor 3, so that the script reads from top to bottom although five shells follow one
// another in it.
type Script struct {
	Spec   *Spec
	Title  string   // what the script does by hand: "tiffin run debian true"
	Layers []string // tarballs of the image, the bottom one first
}

// scriptHead is the first part. A shell has no openat2(2): that is why it asks for trust.
const scriptHead = `#!/bin/sh
%s#
# The steps are those of ` + "`tiffin run --explain`" + `. It runs as you, not as root, and needs
# Linux 5.11, util-linux 2.38 (unshare, mount, umount, pivot_root, setpriv),
# coreutils 8.31 (env, chroot, mktemp and others), GNU tar, awk, hostname,
# ip (iproute2), newuidmap (uidmap) if you have subordinate ids, and setfattr
# (attr) if a directory is opaque; keyctl (keyutils) is used if it is there.
#
# What a shell cannot do, or does otherwise:
# - The layers are unpacked, and the kernel's overlayfs merges them. tiffin reads
#   them where they are.
# - Device nodes are not unpacked, nor are extended attributes.
# - No common tool loads a system call filter: seccomp is missing.
# - A shell follows an image's symbolic links wherever they lead, while tiffin has
#   openat2(2) keep them inside. Only use it with images that you trust.
# - unshare(1) maps one range of subordinate ids, and of root's ids only 0.
# - Open files above number 9 are handed on: sh(1) has no close_range(2).
# - There is no log, no terminal, no ` + "`tiffin exec`" + ` and nothing to commit: all of it
#   is deleted at the end.
{ # up to the end: all of it is read before the command can take what is left of standard input
set -eu
PATH=$PATH:/usr/sbin:/sbin # chroot, pivot_root and ip are there, where Debian's users do not look
umask 022
WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/tiffin.XXXXXX")
ROOT=$WORK/root
export WORK ROOT
mkdir "$ROOT" "$WORK/layers"
# Files may belong to subordinate ids: they can only be deleted where those are yours.
trap 'unshare %[2]s rm -rf "$WORK"' EXIT
trap 'kill -KILL $CHILD; exit 130' INT HUP TERM
`

// scriptLayers makes what overlayfs needs, in the user namespace: directories instead of tarballs.
// For the kernel's overlayfs a whiteout is character device 0:0, which Linux 5.8 and later let
// every user make.
const scriptLayers = `
# The layers become directories, and the whiteouts in them those of overlayfs.
# Manual: OCI image-spec layer.md, "Whiteouts"; the kernel's
# Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"
unpack() {
  mkdir "$2"
  tar -x -p -f "$1" -C "$2" %s \
    --anchored --exclude='dev/*' --exclude='./dev/*' --no-anchored --exclude='.wh.*'
  tar -t -f "$1" --quoting-style=literal | grep -E '(^|/)\.wh\.' |
  while IFS= read -r path; do
    dir=$2/$(dirname "$path") name=$(basename "$path")
    mkdir -p "$dir"
    case $name in
    .wh..wh..opq) setfattr -n user.overlay.opaque -v y "$dir" ;;
    .wh..wh.*) ;; # of aufs, with no meaning
    *) [ -e "$dir/${name#.wh.}" ] || mknod "$dir/${name#.wh.}" c 0 0 ;;
    esac
  done
}
LAYERS=
`

// scriptTail waits for what the first shell has started; a trap runs while it does.
const scriptTail = `
CHILD=$!
wait $CHILD
exit
}
`

// String returns the script.
func (s *Script) String() string {
	// The terminator of a here-document must not be a line in it: what comes from an image would
	// be typed into the outer shell.
	marker := "END_OF_SHELL"
	for strings.Contains(s.steps("\x00"), marker) {
		marker += "_"
	}
	return fmt.Sprintf(scriptHead, comment(s.Title+", by hand"), s.Spec.userOptions()) + s.steps(marker) + scriptTail
}

// steps returns the steps' commands; marker begins the terminators of the here-documents.
func (s *Script) steps(marker string) string {
	var out, ends strings.Builder
	shells := 1
	b := &builder{spec: s.Spec, proc: &s.Spec.Process, root: -1, console: -1}
	for i, step := range Steps() {
		if step.Where == "exec" {
			continue
		}
		fmt.Fprintf(&out, "\n# -- %d %s --\n%s%s", i+1, step.Name, comment(step.Why), comment("Manual: "+step.Man))
		if why := b.whyNot(&step); why != "" {
			out.WriteString(comment("Skipped: " + why))
			continue
		}
		for line := range strings.Lines(step.ByHand(s.Spec)) {
			line = strings.TrimSuffix(line, "\n")
			if !strings.HasSuffix(line, " sh") {
				fmt.Fprintln(&out, line)
				continue
			}
			shells++
			end := marker + "_" + strconv.Itoa(shells)
			fmt.Fprintf(&out, "%s -eu /dev/fd/3 3<<'%s'%s\n", line, end, pick(shells == 2, " <&0 &", ""))
			old := ends.String()
			ends.Reset()
			ends.WriteString(end + "\n" + old)
		}
		if step.Name == "user-namespace" {
			out.WriteString(s.unpack())
		}
	}
	return out.String() + ends.String()
}

// comment makes lines of text that a shell passes over.
func comment(text string) string {
	const width = 80
	var out strings.Builder
	line := "#"
	for word := range strings.FieldsSeq(text) {
		if len(line)+1+len(word) > width {
			out.WriteString(line + "\n")
			line = "#"
		}
		line += " " + word
	}
	return out.String() + line + "\n"
}

// unpack makes directories of the layers.
func (s *Script) unpack() string {
	owners := "--same-owner --numeric-owner"
	if s.Spec.IDs.Single() {
		owners = "--no-same-owner"
	}
	var out strings.Builder
	fmt.Fprintf(&out, scriptLayers, owners)
	for i, flat := range s.Layers {
		at := fmt.Sprintf("$WORK/layers/%d", i)
		fmt.Fprintf(&out, "unpack %s \"%s\"\n", shell.Word(flat), at)
		fmt.Fprintf(&out, "LAYERS=%s%s\n", at, pick(i > 0, ":$LAYERS", ""))
	}
	out.WriteString("export LAYERS\n")
	return out.String()
}

// LikelyIDs says which ids a user namespace would get that unshare(1) makes for this user: their
// own and the first range of subordinate ones; nothing is tried.
func LikelyIDs(uid, gid uint32) IDMap {
	own := func(id uint32) []IDRange { return []IDRange{{0, id, 1}} }
	one := IDMap{UIDs: own(uid), GIDs: own(gid)}
	if uid == 0 {
		return one
	}
	name := UserName(uid)
	users, _ := SubIDs("/etc/subuid", uid, name)
	groups, _ := SubIDs("/etc/subgid", uid, name)
	if len(users) == 0 || len(groups) == 0 {
		return one
	}
	for _, helper := range []string{"newuidmap", "newgidmap"} {
		path, err := exec.LookPath(helper)
		if err != nil || helperPrivilege(path) != "" {
			return one
		}
	}
	return IDMap{UIDs: withSubordinate(uid, users[:1]), GIDs: withSubordinate(gid, groups[:1]), Setgroups: true}
}
