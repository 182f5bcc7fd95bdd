// The layer of the image as a tarball, the same bytes for the same program.

package main

import (
	"archive/tar"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tiffin/userland/box"
)

// Epoch is the modification time of everything in the layer. It is a constant:
// the time of a build would change the layer's digest.
var Epoch = time.Unix(1767225600, 0).UTC() // 2026-01-01 00:00:00 UTC

// dirs are the directories besides /bin; FHS 3.0 names them. Modes that are not
// 0755 are the point of the entry.
var dirs = []struct {
	name string
	mode int64
	id   int // owner and group
}{
	{name: "dev"}, {name: "etc"}, {name: "home"}, {name: "home/guest", id: 1000}, {name: "mnt"},
	{name: "opt"}, {name: "proc", mode: 0o555}, {name: "root", mode: 0o700}, {name: "run"},
	{name: "srv"}, {name: "sys", mode: 0o555}, {name: "tmp", mode: 0o1777}, {name: "usr"},
	{name: "usr/lib"}, {name: "usr/local"}, {name: "usr/local/bin"}, {name: "usr/local/lib"},
	{name: "usr/share"}, {name: "var"}, {name: "var/cache"}, {name: "var/lib"},
	{name: "var/log"}, {name: "var/spool"}, {name: "var/tmp", mode: 0o1777},
}

// links are the symbolic links: all directories for programs are /bin, and the
// old places of run and lock lead to the new ones.
var links = []struct{ name, target string }{
	{"etc/mtab", "../proc/self/mounts"},
	{"sbin", "bin"},
	{"usr/bin", "../bin"},
	{"usr/sbin", "../bin"},
	{"var/lock", "../run/lock"},
	{"var/run", "../run"},
}

// files are the files with text in them, all 0644 and root's.
var files = []struct{ name, text string }{
	{"etc/group", `root:x:0:
daemon:x:1:
tty:x:5:
disk:x:6:
mail:x:8:
users:x:100:guest
guest:x:1000:
nogroup:x:65534:
`},
	{"etc/hostname", "tiffin\n"},
	{"etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"},
	{"etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"},
	{"etc/os-release", `NAME="tiffin base"
ID=tiffin
PRETTY_NAME="tiffin's built-in base image"
`},
	{"etc/passwd", `root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/var/empty:/bin/false
mail:x:8:8:mail:/var/mail:/bin/false
guest:x:1000:1000:guest:/home/guest:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
`},
	{"etc/profile", `# read by login shells: sh -l, or a name that starts with "-"
export PATH=` + Path + `
export PAGER=less
umask 022
if [ -z "$PS1" ]; then return 0; fi
PS1='\u@\h:\w\$ '
`},
	{"etc/resolv.conf", ""},
	{"etc/shells", "/bin/sh\n"},
}

// Layer writes the image's only layer to w: an uncompressed tarball of the
// directories, the files of /etc, and the program self (size bytes) as /bin/sh, to which
// every command is a hard link. The same program gives the same bytes.
func Layer(w io.Writer, self io.ReaderAt, size int64) error {
	tw := tar.NewWriter(w)
	var entries []tar.Header
	for _, d := range dirs {
		mode := d.mode
		if mode == 0 {
			mode = 0o755
		}
		entries = append(entries, tar.Header{Typeflag: tar.TypeDir, Name: d.name + "/", Mode: mode, Uid: d.id, Gid: d.id})
	}
	for _, l := range links {
		entries = append(entries, tar.Header{Typeflag: tar.TypeSymlink, Name: l.name, Linkname: l.target, Mode: 0o777})
	}
	text := map[string]string{}
	for _, f := range files {
		text[f.name] = f.text
		entries = append(entries, tar.Header{Typeflag: tar.TypeReg, Name: f.name, Mode: 0o644, Size: int64(len(f.text))})
	}
	slices.SortFunc(entries, func(a, b tar.Header) int { return strings.Compare(a.Name, b.Name) })
	if err := writeBin(tw, self, size); err != nil {
		return err
	}
	for _, e := range entries {
		if err := writeEntry(tw, e, strings.NewReader(text[e.Name])); err != nil {
			return err
		}
	}
	if err := tw.Close(); err != nil {
		return fmt.Errorf("write base layer: %w", err)
	}
	return nil
}

// writeBin writes /bin: the program first, since a hard link's target has to
// come before it in the archive, then the names of the commands.
func writeBin(tw *tar.Writer, self io.ReaderAt, size int64) error {
	err := writeEntry(tw, tar.Header{Typeflag: tar.TypeDir, Name: "bin/", Mode: 0o755}, nil)
	if err != nil {
		return err
	}
	err = writeEntry(tw, tar.Header{Typeflag: tar.TypeReg, Name: "bin/sh", Mode: 0o755, Size: size},
		io.NewSectionReader(self, 0, size))
	if err != nil {
		return err
	}
	for _, name := range Names() {
		if name == "sh" {
			continue
		}
		h := tar.Header{Typeflag: tar.TypeLink, Name: "bin/" + name, Linkname: "bin/sh", Mode: 0o755}
		if err := writeEntry(tw, h, nil); err != nil {
			return err
		}
	}
	return nil
}

func writeEntry(tw *tar.Writer, h tar.Header, data io.Reader) error {
	h.ModTime = Epoch
	h.Format = tar.FormatUSTAR
	if err := tw.WriteHeader(&h); err != nil {
		return fmt.Errorf("write base layer: %s: %w", h.Name, err)
	}
	if h.Size > 0 {
		if _, err := io.Copy(tw, data); err != nil {
			return fmt.Errorf("write base layer: %s: %w", h.Name, err)
		}
	}
	return nil
}

// Names lists the commands of the image, sorted.
func Names() []string {
	names := []string{"sh"}
	for _, c := range box.Commands() {
		names = append(names, c.Name)
	}
	slices.Sort(names)
	return names
}
