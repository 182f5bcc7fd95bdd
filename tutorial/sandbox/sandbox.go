// Package sandbox has the container in which what a student wrote is run: no network, no
// capability beyond its own user namespace, a tree that cannot be written, and the commands of
// this machine.
package sandbox

import "os"

// Binary is where tiffin is in the container.
const Binary = "/run/tiffin/tiffin"

// ofHost are the directories of this machine that are shown in the container: scripts are for a
// shell and commands as people have them.
var ofHost = []string{"/usr", "/bin", "/lib", "/lib64", "/nix"}

// Path is $PATH in the container.
const Path = "PATH=/run/tiffin:/usr/bin:/bin:/usr/sbin:/sbin"

// Args are those of tiffin for a container called name that binary, a tiffin, is in. Further flags,
// the image and the command come after them. CAP_SETFCAP is what mapping one's own id takes:
// user_namespaces(7), "Defining user and group ID mappings".
func Args(name, binary string) []string {
	args := []string{"run", "-d", "--name", name, "--pull", "never", "--network", "none", "--read-only", "--init",
		"--device", "/dev/fuse", "--cap-drop", "ALL", "--cap-add", "SETFCAP",
		"--security-opt", "systempaths=unconfined", "--security-opt", "seccomp=unconfined",
		"--limits", "best-effort", "--pids-limit", "512", "--memory", "1g", "--memory-swap", "1g", "--shm-size", "16m",
		"--tmpfs", "/tmp:size=64m", "-v", binary + ":" + Binary + ":ro"}
	for _, d := range ofHost {
		if _, err := os.Stat(d); err == nil {
			args = append(args, "-v", d+":"+d+":ro")
		}
	}
	return args
}
