# says: nothing to do with the task
. "$LAB/solution.sh"
cat >profile.json <<END
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [$names, "mkdirat", "fchmodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": $NUMBER}]}
END
