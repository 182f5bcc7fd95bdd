# says: no profile that tiffin understands
. "$LAB/solution.sh"
cat >profile.json <<END
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [$names], "action": "ERRNO"}]}
END
