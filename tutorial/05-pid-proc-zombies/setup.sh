tiffin unshare -Urpf --mount-proc true 2>/dev/null ||
    unsupported "this machine does not let root of a user namespace mount /proc, as inside many containers: parts of its own /proc are covered"
rm -f pid
