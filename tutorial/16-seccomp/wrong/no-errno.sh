# says: errnoRet is missing
. "$LAB/solution.sh"
cat >profile.json <<END
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [$names], "action": "SCMP_ACT_ERRNO"}]}
END
