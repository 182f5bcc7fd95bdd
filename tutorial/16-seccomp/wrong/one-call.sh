# says: it makes another call for the same thing
. "$LAB/solution.sh"
cat >profile.json <<END
{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": [${names%%,*}], "action": "SCMP_ACT_ERRNO", "errnoRet": $NUMBER}]}
END
