# says: A misspelt name
. "$LAB/solution.sh"
cat >profile.json <<END
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mklink", "setattr"], "action": "SCMP_ACT_ERRNO", "errnoRet": $NUMBER}]}
END
