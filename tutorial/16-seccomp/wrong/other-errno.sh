# says: with another error than
. "$LAB/solution.sh"
cat >profile.json <<END
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [$names], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}
END
