# says: ended by SIGSYS
. "$LAB/solution.sh"
cat >profile.json <<END
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [$names], "action": "SCMP_ACT_KILL_PROCESS"}]}
END
